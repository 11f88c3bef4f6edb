// The TypeScript SDK of the protocol as a client for tests. It takes
//
//   node typescript.mjs CLIENTS {"command": [...], "env": {...}, "cwd": "..."}
//   node typescript.mjs CLIENTS {"url": "...", "token": "..."}
//
// where CLIENTS is the folder with node_modules, reads calls as JSON lines
// {"tool", "arguments"} and answers each with a line: what callTool gave. Before
// them comes a line with the names of the tools.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { join } from "node:path";

const require = createRequire(join(process.argv[2], "package.json"));
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = require("@modelcontextprotocol/sdk/client/stdio.js");
const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");

const server = JSON.parse(process.argv[3]);
const transport = server.url
  ? new StreamableHTTPClientTransport(new URL(server.url), {
      requestInit: { headers: { Authorization: `Bearer ${server.token}` } },
    })
  : new StdioClientTransport({ command: server.command[0], args: server.command.slice(1), env: server.env, cwd: server.cwd });

const client = new Client({ name: "typescript", version: "1" });
await client.connect(transport);
const say = (value) => process.stdout.write(JSON.stringify(value) + "\n");
say((await client.listTools()).tools.map((tool) => tool.name));
for await (const line of createInterface({ input: process.stdin })) {
  const call = JSON.parse(line);
  say(await client.callTool({ name: call.tool, arguments: call.arguments }));
}
if (server.url) {
  await transport.terminateSession();
}
await client.close();
