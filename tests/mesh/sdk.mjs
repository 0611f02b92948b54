// The official JavaScript SDK, unchanged, against a mesh: `node sdk.mjs URL KEY`. Prints one JSON object.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: process.argv[3], maxRetries: 0 });
const ask = (content, more = {}) => ({ model: "echo", messages: [{ role: "user", content }], ...more });
const tools = [{ type: "function", function: { name: "look", parameters: { type: "object" } } }];
const said = {};

said.whole = (await client.chat.completions.create(ask("from JavaScript"))).choices[0].message.content;

said.streamed = "";
for await (const chunk of await client.chat.completions.create(ask("streamed to JavaScript", { stream: true }))) {
  said.streamed += chunk.choices[0]?.delta?.content ?? "";
}

const called = client.chat.completions.stream(ask("find it", { model: "tools", tools }));
said.arguments = (await called.finalChatCompletion()).choices[0].message.tool_calls[0].function.arguments;

said.models = (await client.models.list()).data.map((one) => one.id);
said.embedding = (await client.embeddings.create({ model: "static", input: "a cat" })).data[0].embedding.length;

const talk = await client.conversations.create({ items: [{ role: "user", content: "first" }] });
await client.responses.create({ model: "echo", input: "second", conversation: talk.id });
said.conversation = [];
for await (const item of client.conversations.items.list(talk.id, { order: "asc", limit: 2 })) {
  said.conversation.push(item.content[0].text);
}

try {
  await client.chat.completions.create(ask("hot", { temperature: 9 }));
} catch (error) {
  said.refused = [error.constructor.name, error.status, error.code, error.param];
}
try {
  await client.chat.completions.create(ask("busy", { model: "busy" }));
} catch (error) {
  said.busy = [error.constructor.name, error.status];
}
console.log(JSON.stringify(said));
