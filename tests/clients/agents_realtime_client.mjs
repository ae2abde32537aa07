// A spoken conversation, with a tool and an interruption, by @openai/agents-realtime.
// Usage: node agents_realtime_client.mjs URL CLIP; prints one line of JSON. See `install`.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(new URL(".node/package.json", import.meta.url));
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { RealtimeAgent, RealtimeSession, OpenAIRealtimeWebSocket, tool } = await load("@openai/agents-realtime");
const { z } = await load("zod");

const [url, clip] = process.argv.slice(2);
const speech = readFileSync(clip).subarray(44);
const told = { calls: [], errors: [], interruptions: 0, audio_bytes: 0, history: [] };

const getWeather = tool({
  name: "get_weather",
  description: "Return the weather of a city.",
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    told.calls.push(city);
    return "18 degrees";
  },
});
const session = new RealtimeSession(new RealtimeAgent({ name: "helper", instructions: "Help.", tools: [getWeather] }), {
  transport: new OpenAIRealtimeWebSocket({ url, useInsecureApiKey: true }),
  model: "gpt-realtime-2.1",
  config: {
    audio: {
      input: {
        format: { type: "audio/pcm", rate: 24000 },
        turnDetection: { type: "server_vad", silenceDurationMs: 300, interruptResponse: true },
        transcription: { model: "gpt-4o-mini-transcribe" },
      },
    },
  },
  tracingDisabled: true,
});

const part = (buffer, start, end) => {
  const piece = buffer.subarray(start, end);
  return piece.buffer.slice(piece.byteOffset, piece.byteOffset + piece.byteLength);
};
const speak = () => {
  for (let start = 0; start < speech.length; start += 4800) session.sendAudio(part(speech, start, start + 4800));
  session.sendAudio(new ArrayBuffer(48 * 600));
};
const finish = (code) => {
  console.log(JSON.stringify(told));
  process.exit(code);
};
setTimeout(() => finish(1), 30_000);

let interrupting = false;
session.on("error", (event) => told.errors.push(JSON.stringify(event)));
session.on("audio_interrupted", () => (told.interruptions += 1));
session.on("audio", (event) => {
  told.audio_bytes += event.data.byteLength;
  if (!interrupting) {
    interrupting = true;
    setTimeout(speak, 500);
  }
});
session.on("history_updated", (history) => {
  told.history = history
    .filter((item) => item.type === "message")
    .map((item) => [item.role, item.content.map((content) => content.transcript ?? null)]);
  const answers = told.history.flatMap(([, words]) => words);
  if (told.interruptions > 0 && answers.includes("All right.")) finish(0);
});

await session.connect({ apiKey: "any" });
speak();
