package dev.tollway.example;

import com.google.gson.Gson;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.tollway.chat.v1.ChatRequest;
import dev.tollway.chat.v1.ContentPart;
import dev.tollway.chat.v1.Message;
import dev.tollway.chat.v1.Role;
import dev.tollway.gateway.v1.CompleteRequest;
import dev.tollway.gateway.v1.GatewayServiceGrpc;
import dev.tollway.gateway.v1.StreamCompleteRequest;
import dev.tollway.guard.v1.AnalyzeRequest;
import dev.tollway.guard.v1.GuardServiceGrpc;
import dev.tollway.ledger.v1.LedgerServiceGrpc;
import dev.tollway.ledger.v1.QueryUsageRequest;
import io.grpc.CallCredentials;
import io.grpc.ChannelCredentials;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;

/**
 * A Tollway client: a completion, a stream that is cancelled, a deadline, errors taken apart, the guard and the ledger.
 */
public final class Client {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  /** The API key rides along with every call. */
  private static final CallCredentials API_KEY =
      new CallCredentials() {
        @Override
        public void applyRequestMetadata(RequestInfo info, Executor executor, MetadataApplier applier) {
          Metadata headers = new Metadata();
          headers.put(AUTHORIZATION, "Bearer " + setting("API_KEY"));
          applier.apply(headers);
        }
      };

  private static String setting(String name) {
    return System.getenv().getOrDefault("TOLLWAY_" + name, "");
  }

  private static ChannelCredentials transport() throws IOException {
    if (setting("CA").isEmpty()) {
      return InsecureChannelCredentials.create(); // on this machine alone
    }
    return TlsChannelCredentials.newBuilder()
        .trustManager(new File(setting("CA")))
        .keyManager(new File(setting("CERT")), new File(setting("KEY")))
        .build();
  }

  /** A channel with the balancing, health checks and retries that the archive's service config names. */
  @SuppressWarnings("unchecked")
  private static ManagedChannel dial(String target) throws IOException {
    String config = Files.readString(Path.of(setting("SERVICE_CONFIG")));
    return Grpc.newChannelBuilder("dns:///" + target, transport())
        .defaultServiceConfig(new Gson().fromJson(config, Map.class))
        .enableRetry()
        .build();
  }

  private static ChatRequest.Builder prompt(String model, String text) {
    return ChatRequest.newBuilder()
        .setModel(model)
        .addMessages(
            Message.newBuilder().setRole(Role.ROLE_USER).addParts(ContentPart.newBuilder().setText(text)));
  }

  /** Takes a rich error apart: what to branch on, what to mend, when to try again. */
  private static String explain(StatusRuntimeException error) throws InvalidProtocolBufferException {
    StringBuilder words = new StringBuilder("error: " + error.getStatus().getCode());
    com.google.rpc.Status status = StatusProto.fromThrowable(error);
    for (Any detail : status.getDetailsList()) {
      if (detail.is(ErrorInfo.class)) {
        words.append(" reason=").append(detail.unpack(ErrorInfo.class).getReason());
      } else if (detail.is(BadRequest.class)) {
        detail
            .unpack(BadRequest.class)
            .getFieldViolationsList()
            .forEach(one -> words.append(" field=").append(one.getField()));
      } else if (detail.is(RetryInfo.class)) {
        var delay = detail.unpack(RetryInfo.class).getRetryDelay();
        words.append(" retry_after=").append(delay.getSeconds() + delay.getNanos() / 1e9).append("s");
      }
    }
    return words.toString();
  }

  public static void main(String[] arguments) throws Exception {
    String model = setting("MODEL");
    ManagedChannel channel = dial(setting("GATEWAY"));
    ManagedChannel guarding = dial(setting("GUARD"));
    ManagedChannel booking = dial(setting("LEDGER"));
    try {
      var gateway = GatewayServiceGrpc.newBlockingStub(channel).withCallCredentials(API_KEY);

      var asked = CompleteRequest.newBuilder().setChat(prompt(model, "Hello from Java")).build();
      var answer = gateway.withDeadlineAfter(30, TimeUnit.SECONDS).complete(asked);
      System.out.println("completion: " + answer.getCompletion().getChoices(0).getMessage().getParts(0).getText());

      var streamed =
          StreamCompleteRequest.newBuilder().setChat(prompt(model, "one two three four five six seven eight")).build();
      Context.CancellableContext scope = Context.current().withCancellation();
      scope.call(
          () -> {
            var pieces = gateway.streamComplete(streamed);
            for (int n = 0; n < 3; n++) {
              pieces.next();
            }
            scope.cancel(null);
            try {
              while (pieces.hasNext()) {
                pieces.next();
              }
              throw new IllegalStateException("the stream ended before it was cancelled");
            } catch (StatusRuntimeException ended) {
              System.out.println("stream: " + ended.getStatus().getCode() + " after 3 messages");
            }
            return null;
          });

      try {
        var late = CompleteRequest.newBuilder().setChat(prompt(model, "too late")).build();
        gateway.withDeadlineAfter(1, TimeUnit.MILLISECONDS).complete(late);
      } catch (StatusRuntimeException error) {
        System.out.println("deadline: " + error.getStatus().getCode());
      }

      try {
        gateway.complete(CompleteRequest.newBuilder().setChat(prompt(model, "Hello").setTemperature(9)).build());
      } catch (StatusRuntimeException error) {
        System.out.println(explain(error));
      }
      if (!setting("BUSY_MODEL").isEmpty()) {
        try {
          gateway.complete(CompleteRequest.newBuilder().setChat(prompt(setting("BUSY_MODEL"), "Hello")).build());
        } catch (StatusRuntimeException error) {
          System.out.println(explain(error));
        }
      }

      var seen =
          GuardServiceGrpc.newBlockingStub(guarding)
              .withCallCredentials(API_KEY)
              .withDeadlineAfter(30, TimeUnit.SECONDS)
              .analyze(AnalyzeRequest.newBuilder().setText("Mail ada@example.com").build());
      System.out.println("guard: " + seen.getFindings(0).getType());

      var usage =
          LedgerServiceGrpc.newBlockingStub(booking)
              .withCallCredentials(API_KEY)
              .withDeadlineAfter(30, TimeUnit.SECONDS)
              .queryUsage(QueryUsageRequest.newBuilder().setGroupBy("account").build());
      System.out.println("ledger: " + usage.getRows(0).getGroup());
    } finally {
      for (ManagedChannel one : new ManagedChannel[] {channel, guarding, booking}) {
        one.shutdown().awaitTermination(5, TimeUnit.SECONDS);
      }
    }
  }

  private Client() {}
}
