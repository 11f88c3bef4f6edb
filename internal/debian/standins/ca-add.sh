add() {
  printf '%s\n' "$1" >> "$ADDED.list"
}

# Makes the symlink and the entry in the bundle for every certificate in the list.
pyro_add_all() {
  [ -f "$ADDED.list" ] || return 0
  perl -e '
    use strict;
    my ($dir, $added, $bundle) = @ARGV;
    open(my $add, ">>", $added) or die "$added: $!";
    open(my $out, ">>", $bundle) or die "$bundle: $!";
    while (my $cert = <STDIN>) {
      chomp $cert;
      (my $name = $cert) =~ s{.*/}{};
      $name =~ s{(.)\.crt\z}{$1};
      $name =~ tr/ (),/_==_/;
      my $pem = "$dir/$name.pem";
      my $old = readlink $pem;
      if (!-e $pem || !defined $old || $old ne $cert) {
        unlink $pem;
        symlink($cert, $pem) or die "$pem: $!";
        print $add "+$pem\n";
      }
      open(my $in, "<", $cert) or die "$cert: $!";
      my $text = do { local $/; <$in> };
      print $out $text, ($text eq "" || $text =~ /\n\z/) ? "" : "\n";
    }
    close($out) or die "$bundle: $!";
    close($add) or die "$added: $!";
  ' "$ETCCERTSDIR" "$ADDED" "$TEMPBUNDLE" < "$ADDED.list"
  rm -f "$ADDED.list"
}
