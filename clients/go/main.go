// A Tollway client: a completion, a stream that is cancelled, a deadline, errors taken apart, the guard and the ledger.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	chatv1 "github.com/tollway/tollway/gen/go/tollway/chat/v1"
	gatewayv1 "github.com/tollway/tollway/gen/go/tollway/gateway/v1"
	guardv1 "github.com/tollway/tollway/gen/go/tollway/guard/v1"
	ledgerv1 "github.com/tollway/tollway/gen/go/tollway/ledger/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/health" // health checking of the service config
	"google.golang.org/grpc/status"
)

// apiKey rides along with every call.
type apiKey struct {
	key    string
	sealed bool
}

func (a apiKey) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + a.key}, nil
}

func (a apiKey) RequireTransportSecurity() bool { return a.sealed }

func transport() (credentials.TransportCredentials, bool, error) {
	authority := os.Getenv("TOLLWAY_CA")
	if authority == "" {
		return insecure.NewCredentials(), false, nil // on this machine alone
	}
	pem, err := os.ReadFile(authority)
	if err != nil {
		return nil, false, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	own, err := tls.LoadX509KeyPair(os.Getenv("TOLLWAY_CERT"), os.Getenv("TOLLWAY_KEY"))
	if err != nil {
		return nil, false, err
	}
	return credentials.NewTLS(&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}}), true, nil
}

// dial opens a channel with the balancing, health checks and retries that the archive's service config names.
func dial(target string) (*grpc.ClientConn, error) {
	creds, sealed, err := transport()
	if err != nil {
		return nil, err
	}
	config, err := os.ReadFile(os.Getenv("TOLLWAY_SERVICE_CONFIG"))
	if err != nil {
		return nil, err
	}
	return grpc.NewClient("dns:///"+target,
		grpc.WithTransportCredentials(creds),
		grpc.WithPerRPCCredentials(apiKey{os.Getenv("TOLLWAY_API_KEY"), sealed}),
		grpc.WithDefaultServiceConfig(string(config)))
}

func prompt(model, text string) *chatv1.ChatRequest {
	part := &chatv1.ContentPart{Part: &chatv1.ContentPart_Text{Text: text}}
	message := &chatv1.Message{Role: chatv1.Role_ROLE_USER, Parts: []*chatv1.ContentPart{part}}
	return &chatv1.ChatRequest{Model: model, Messages: []*chatv1.Message{message}}
}

// explain takes a rich error apart: what to branch on, what to mend, when to try again.
func explain(err error) {
	failed := status.Convert(err)
	fmt.Printf("error: %s", canonical(failed.Code()))
	for _, detail := range failed.Details() {
		switch found := detail.(type) {
		case *errdetails.ErrorInfo:
			fmt.Printf(" reason=%s", found.Reason)
		case *errdetails.BadRequest:
			for _, violation := range found.FieldViolations {
				fmt.Printf(" field=%s", violation.Field)
			}
		case *errdetails.RetryInfo:
			fmt.Printf(" retry_after=%gs", found.RetryDelay.AsDuration().Seconds())
		}
	}
	fmt.Println()
}

func run(ctx context.Context) error {
	model := os.Getenv("TOLLWAY_MODEL")
	conn, err := dial(os.Getenv("TOLLWAY_GATEWAY"))
	if err != nil {
		return err
	}
	defer conn.Close()
	gateway := gatewayv1.NewGatewayServiceClient(conn)

	within, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	answer, err := gateway.Complete(within, &gatewayv1.CompleteRequest{Chat: prompt(model, "Hello from Go")})
	if err != nil {
		return err
	}
	fmt.Printf("completion: %s\n", answer.Completion.Choices[0].Message.Parts[0].GetText())

	streaming, stop := context.WithCancel(ctx)
	stream, err := gateway.StreamComplete(streaming, &gatewayv1.StreamCompleteRequest{Chat: prompt(model, "one two three four five six seven eight")})
	if err != nil {
		stop()
		return err
	}
	for pieces := 0; pieces < 3; pieces++ {
		if _, err := stream.Recv(); err != nil {
			stop()
			return err
		}
	}
	stop()
	for err = nil; err == nil; {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the stream ended before it was cancelled")
	}
	fmt.Printf("stream: %s after 3 messages\n", canonical(status.Code(err)))

	soon, cancelSoon := context.WithTimeout(ctx, time.Millisecond)
	defer cancelSoon()
	_, err = gateway.Complete(soon, &gatewayv1.CompleteRequest{Chat: prompt(model, "too late")})
	fmt.Printf("deadline: %s\n", canonical(status.Code(err)))

	hot := prompt(model, "Hello")
	temperature := 9.0
	hot.Temperature = &temperature
	if _, err = gateway.Complete(ctx, &gatewayv1.CompleteRequest{Chat: hot}); err != nil {
		explain(err)
	}
	if busy := os.Getenv("TOLLWAY_BUSY_MODEL"); busy != "" {
		if _, err = gateway.Complete(ctx, &gatewayv1.CompleteRequest{Chat: prompt(busy, "Hello")}); err != nil {
			explain(err)
		}
	}

	guarding, err := dial(os.Getenv("TOLLWAY_GUARD"))
	if err != nil {
		return err
	}
	defer guarding.Close()
	seen, err := guardv1.NewGuardServiceClient(guarding).Analyze(within, &guardv1.AnalyzeRequest{Text: "Mail ada@example.com"})
	if err != nil {
		return err
	}
	fmt.Printf("guard: %s\n", seen.Findings[0].Type)

	booking, err := dial(os.Getenv("TOLLWAY_LEDGER"))
	if err != nil {
		return err
	}
	defer booking.Close()
	usage, err := ledgerv1.NewLedgerServiceClient(booking).QueryUsage(within, &ledgerv1.QueryUsageRequest{GroupBy: "account"})
	if err != nil {
		return err
	}
	fmt.Printf("ledger: %s\n", usage.Rows[0].Group)
	return nil
}

// canonical is a code as the other languages write it.
func canonical(code codes.Code) string {
	names := map[codes.Code]string{
		codes.Canceled: "CANCELLED", codes.DeadlineExceeded: "DEADLINE_EXCEEDED",
		codes.InvalidArgument: "INVALID_ARGUMENT", codes.ResourceExhausted: "RESOURCE_EXHAUSTED",
	}
	if name, known := names[code]; known {
		return name
	}
	return code.String()
}

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}
