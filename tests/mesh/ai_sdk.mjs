// Vercel's AI SDK, unchanged, against a mesh: `node ai_sdk.mjs URL KEY`. It speaks OpenAI's Responses, and names what was answered by its id
// in place of sending it again. Prints one JSON object.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const openai = createOpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: process.argv[3] });
const look = tool({ inputSchema: z.object({ text: z.string() }), execute: async ({ text }) => `found: ${text}` });
const said = {};

const first = await generateText({ model: openai("echo"), prompt: "one of the AI SDK" });
said.whole = first.text;

const messages = [{ role: "user", content: "one of the AI SDK" }, ...first.response.messages];
const second = streamText({ model: openai("echo"), messages: [...messages, { role: "user", content: "two of the AI SDK" }] });
said.streamed = await second.text;

const steps = await generateText({
  model: openai("tools"),
  prompt: "look for the AI SDK",
  tools: { look },
  stopWhen: stepCountIs(3),
});
said.called = steps.text;
console.log(JSON.stringify(said));
