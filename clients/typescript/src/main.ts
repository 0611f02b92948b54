// A Tollway client: a completion, a stream that is cancelled, a deadline, errors taken apart, the guard and the ledger.
import { readFileSync } from "node:fs";
import {
  ChannelCredentials,
  type ClientOptions,
  Metadata,
  type ServiceError,
  credentials,
  status as codes,
} from "@grpc/grpc-js";
import { BadRequest, ErrorInfo, RetryInfo } from "./gen/google/rpc/error_details.js";
import { Status } from "./gen/google/rpc/status.js";
import { ChatRequest, Role } from "./gen/tollway/chat/v1/chat.js";
import {
  CompleteRequest,
  GatewayServiceClient,
  StreamCompleteRequest,
  type CompleteResponse,
} from "./gen/tollway/gateway/v1/gateway.js";
import { AnalyzeRequest, GuardServiceClient, type AnalyzeResponse } from "./gen/tollway/guard/v1/guard.js";
import { LedgerServiceClient, QueryUsageRequest, type QueryUsageResponse } from "./gen/tollway/ledger/v1/ledger.js";

const setting = (name: string): string => process.env[`TOLLWAY_${name}`] ?? "";

function transport(): ChannelCredentials {
  if (!setting("CA")) return credentials.createInsecure(); // on this machine alone
  return credentials.createSsl(
    readFileSync(setting("CA")),
    readFileSync(setting("KEY")),
    readFileSync(setting("CERT")),
  );
}

const options: ClientOptions = {
  // Balancing and retries as the archive names them.
  "grpc.service_config": readFileSync(setting("SERVICE_CONFIG"), "utf8"),
  "grpc.enable_retries": 1,
};

function authorized(): Metadata {
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${setting("API_KEY")}`);
  return metadata;
}

/** A unary call as a promise. */
function asked<A>(call: (done: (error: ServiceError | null, answer: A) => void) => unknown): Promise<A> {
  return new Promise((resolve, reject) => {
    call((error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

const within = (ms: number) => ({ deadline: Date.now() + ms });

const prompt = (model: string, text: string): ChatRequest =>
  ChatRequest.fromPartial({ model, messages: [{ role: Role.ROLE_USER, parts: [{ text }] }] });

/** Takes a rich error apart: what to branch on, what to mend, when to try again. */
function explain(error: ServiceError): string {
  const words = [`error: ${codes[error.code]}`];
  for (const raw of error.metadata.get("grpc-status-details-bin")) {
    for (const detail of Status.decode(raw as Buffer).details) {
      switch (detail.typeUrl.split("/").pop()) {
        case "google.rpc.ErrorInfo":
          words.push(`reason=${ErrorInfo.decode(detail.value).reason}`);
          break;
        case "google.rpc.BadRequest":
          for (const one of BadRequest.decode(detail.value).fieldViolations) words.push(`field=${one.field}`);
          break;
        case "google.rpc.RetryInfo": {
          const delay = RetryInfo.decode(detail.value).retryDelay;
          words.push(`retry_after=${Number(delay?.seconds ?? 0) + (delay?.nanos ?? 0) / 1e9}s`);
        }
      }
    }
  }
  return words.join(" ");
}

async function failure(call: Promise<unknown>): Promise<ServiceError> {
  try {
    await call;
  } catch (error) {
    return error as ServiceError;
  }
  throw new Error("the call was expected to fail");
}

async function main(): Promise<void> {
  const model = setting("MODEL");
  const gateway = new GatewayServiceClient(setting("GATEWAY"), transport(), options);
  const complete = (chat: ChatRequest, ms: number) =>
    asked<CompleteResponse>((done) =>
      gateway.complete(CompleteRequest.fromPartial({ chat }), authorized(), within(ms), done),
    );

  const answer = await complete(prompt(model, "Hello from TypeScript"), 30_000);
  console.log(`completion: ${answer.completion?.choices[0]?.message?.parts[0]?.text}`);

  const chat = prompt(model, "one two three four five six seven eight");
  const stream = gateway.streamComplete(StreamCompleteRequest.fromPartial({ chat }), authorized());
  let messages = 0;
  const ended = await new Promise<ServiceError>((resolve, reject) => {
    stream.on("data", () => {
      if (++messages === 3) stream.cancel();
    });
    stream.on("error", (error) => resolve(error as ServiceError));
    stream.on("end", () => reject(new Error("the stream ended before it was cancelled")));
  });
  console.log(`stream: ${codes[ended.code]} after 3 messages`);

  console.log(`deadline: ${codes[(await failure(complete(prompt(model, "too late"), 1))).code]}`);

  console.log(explain(await failure(complete({ ...prompt(model, "Hello"), temperature: 9 }, 30_000))));
  if (setting("BUSY_MODEL")) {
    console.log(explain(await failure(complete(prompt(setting("BUSY_MODEL"), "Hello"), 30_000))));
  }

  const guard = new GuardServiceClient(setting("GUARD"), transport(), options);
  const seen = await asked<AnalyzeResponse>((done) =>
    guard.analyze(AnalyzeRequest.fromPartial({ text: "Mail ada@example.com" }), authorized(), within(30_000), done),
  );
  console.log(`guard: ${seen.findings[0]?.type}`);

  const ledger = new LedgerServiceClient(setting("LEDGER"), transport(), options);
  const query = QueryUsageRequest.fromPartial({ groupBy: "account" }); // fields to come do no harm
  const usage = await asked<QueryUsageResponse>((done) =>
    ledger.queryUsage(query, authorized(), within(30_000), done),
  );
  console.log(`ledger: ${usage.rows[0]?.group}`);
  for (const client of [gateway, guard, ledger]) client.close();
}

await main();
