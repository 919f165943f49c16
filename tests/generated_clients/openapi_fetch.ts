// The story by openapi-fetch:  node openapi_fetch.js address archive picture
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const [address, archive, picture] = process.argv.slice(2) as [string, string, string];
const client = createClient<paths>({ baseUrl: address });
const file = async (path: string) => new File([new Uint8Array(await readFile(path))], path);

function asForm(body: object): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(body))
    for (const each of Array.isArray(value) ? value : [value])
      form.append(name, each instanceof Blob ? each : String(each));
  return form;
}

function got<Data>(answer: { data?: Data; error?: components["schemas"]["Problem"] }): Data {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

const uploaded = got(
  await client.POST("/v1/datasets", {
    body: { file: await file(archive), name: "by openapi-fetch", space: "default", train: true },
    bodySerializer: asForm,
  }),
);
const id = uploaded.component!.id;
const at = { params: { path: { component_id: id } } };
let component = got(await client.GET("/v1/components/{component_id}", at));
while (component.status !== "ready") {
  if (component.error) throw new Error(component.error.detail);
  await sleep(200);
  component = got(await client.GET("/v1/components/{component_id}", at));
}
const body = { images: [await file(picture)], components: id, top_k: 1, deterministic: false, return: "logits" };
const predicted = got(await client.POST("/v1/predictions", { body, bodySerializer: asForm }));
const deleted = got(await client.DELETE("/v1/components/{component_id}", at));
const path = { receipt_id: deleted.id };
const receipt = got(await client.GET("/v1/receipts/{receipt_id}", { params: { path } }));
const gone = await client.GET("/v1/components/{component_id}", at);
console.log(
  JSON.stringify({
    num_images: uploaded.num_images,
    accuracy: component.metrics.train_accuracy,
    solver: component.hyperparameters.solver,
    label: predicted.results[0]!.predictions![0]!.label,
    deleted: receipt.body.subject.id === id,
    code: gone.error?.code,
  }),
);
