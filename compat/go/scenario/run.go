package scenario

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// A scenario that takes longer has failed; nothing may hang.
const scenarioMax = 20 * time.Second

type scenario struct {
	name string
	run  func(r *run) error
}

// run is what a scenario works with.
type run struct {
	ctx    context.Context
	client Client
	topic  string
}

type skipped struct{ reason string }

func (s skipped) Error() string { return s.reason }

// Main runs the named scenarios, or all, and prints one line for each.
func Main(newClient func(bootstrap []string) Client) {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: program BOOTSTRAP [SCENARIO...]")
		os.Exit(2)
	}
	client := newClient(strings.Split(os.Args[1], ","))
	fmt.Printf("CLIENT %s %s\n", client.Name(), moduleVersion(client.Module()))
	if len(os.Args) > 2 && os.Args[2] == "--member" {
		beKilled(&run{ctx: context.Background(), client: client}, os.Args[3:])
	}
	failed := false
	for _, s := range slices.Concat(scenarios, groupScenarios) {
		if len(os.Args) > 2 && !slices.Contains(os.Args[2:], s.name) {
			continue
		}
		failed = report(s.name, attempt(client, s)) || failed
	}
	if failed {
		os.Exit(1)
	}
}

// attempt runs one scenario; one that ignores its context is left behind.
func attempt(client Client, s scenario) error {
	limit := scenarioMax
	if s.name == "reconnect" || strings.HasSuffix(s.name, "-restart") {
		limit = 3 * scenarioMax // A broker's restart lies in between.
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	topic := fmt.Sprintf("compat-%s-%s-%d", client.Name(), s.name, time.Now().UnixNano()%1_000_000_000)
	done := make(chan error, 1)
	go func() {
		defer func() {
			if panicked := recover(); panicked != nil {
				done <- fmt.Errorf("panic: %v", panicked)
			}
		}()
		done <- s.run(&run{ctx: ctx, client: client, topic: topic})
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(limit + time.Second):
		return fmt.Errorf("still running after %v", limit)
	}
}

func report(name string, err error) (failed bool) {
	var skip skipped
	switch {
	case err == nil:
		fmt.Printf("PASS %s\n", name)
	case errors.Is(err, ErrUnsupported) || errors.As(err, &skip):
		fmt.Printf("SKIP %s: %s\n", name, oneLine(err))
	default:
		fmt.Printf("FAIL %s: %s\n", name, oneLine(err))
		return true
	}
	return false
}

func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}

func moduleVersion(path string) string {
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			if module.Path == path {
				return strings.TrimPrefix(module.Version, "v")
			}
		}
	}
	return "unknown"
}

// awaitRestart asks whoever runs this program to restart the broker, and waits until that is done.
func awaitRestart() error {
	fmt.Println("READY-FOR-RESTART")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return skipped{"nobody is there to restart the broker"}
	}
	return nil
}

// until polls a condition that a broker reaches on its own time.
func (r *run) until(what string, condition func() (bool, error)) error {
	var last error
	for {
		ok, err := condition()
		if ok {
			return nil
		}
		last = err
		select {
		case <-r.ctx.Done():
			return fmt.Errorf("%s: did not happen in time (last: %v)", what, last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
