// Generates the types for openapi-fetch and the client of hey-api:  node generate.mjs openapi.json folder
import { readFile, writeFile } from "node:fs/promises";
import { createClient } from "@hey-api/openapi-ts";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const [, , document, folder] = process.argv;
const file = ts.factory.createTypeReferenceNode("Blob");
const types = await openapiTS(JSON.parse(await readFile(document, "utf8")), {
  transform: (schema) => (schema.format === "binary" ? file : undefined),
});
await writeFile(`${folder}/schema.ts`, astToString(types));
await createClient({
  input: document,
  logs: { level: "error" },
  output: { path: `${folder}/hey-api`, importFileExtension: ".js" },
  plugins: ["@hey-api/client-fetch", "@hey-api/typescript", "@hey-api/sdk"],
});
