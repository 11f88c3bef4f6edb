package terminal_test

import (
	"fmt"

	"pyro/internal/terminal"
)

func ExamplePlain() {
	text, _ := terminal.Plain([]byte("$ \x1b[32mmake\x1b[0m\r\n 10%\r 50%\r100%\r\nDnoe\b\b\b\x1b[Kone\r\n"), terminal.Options{Cols: 80, Rows: 24})
	fmt.Print(text)
	// Output:
	// $ make
	// 100%
	// Done
}
