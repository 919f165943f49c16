// The story by the client of hey-api:  node hey_api.js address archive picture
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { client } from "./hey-api/client.gen.js";
import {
  componentsDelete,
  componentsGet,
  datasetsUpload,
  predictionsPredict,
  receiptsGet,
} from "./hey-api/sdk.gen.js";

const [address, archive, picture] = process.argv.slice(2) as [string, string, string];
client.setConfig({ baseUrl: address });

const file = new File([new Uint8Array(await readFile(archive))], archive);
const { data: uploaded } = await datasetsUpload({
  body: { file, name: "by hey-api", train: true },
  throwOnError: true,
});
const id = uploaded.component!.id;
const path = { component_id: id };
let { data: component } = await componentsGet({ path, throwOnError: true });
while (component.status !== "ready") {
  if (component.error) throw new Error(component.error.detail);
  await sleep(200);
  component = (await componentsGet({ path, throwOnError: true })).data;
}
const b64 = (await readFile(picture)).toString("base64");
const { data: predicted } = await predictionsPredict({
  body: { images: [{ b64 }], components: [{ id }], top_k: 1 },
  throwOnError: true,
});
const { data: deleted } = await componentsDelete({ path, throwOnError: true });
const { data: receipt } = await receiptsGet({
  path: { receipt_id: deleted.id },
  throwOnError: true,
});
const { error } = await componentsGet({ path });
console.log(
  JSON.stringify({
    num_images: uploaded.num_images,
    accuracy: component.metrics.train_accuracy,
    solver: component.hyperparameters.solver,
    label: predicted.results[0]!.predictions![0]!.label,
    deleted: receipt.body.subject.id === id,
    code: error?.code,
  }),
);
