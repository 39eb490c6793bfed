// The peer's server for `cargo xtask peers fanout`: Centrifugo's library in a small server. The
// server implements the control protocol of the benchmark (bench/src/fanout/crowd.rs): it prints a
// line of JSON when it is ready, then reads `publish COUNT`, `prepare` and `resident` from a TCP
// connection.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/centrifugal/centrifuge"
)

const payloadBytes = 100

func main() {
	channels := flag.Int("chunks", 1, "number of channels, to which updates are published in turn")
	flag.Parse()
	if err := run(*channels); err != nil {
		log.Fatal(err)
	}
}

func run(channels int) error {
	node, err := centrifuge.New(centrifuge.Config{ClientQueueMaxSize: 64 << 20})
	if err != nil {
		return err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: "crowd"}}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(_ centrifuge.SubscribeEvent, reply centrifuge.SubscribeCallback) {
			reply(centrifuge.SubscribeReply{}, nil)
		})
	})
	if err := node.Run(); err != nil {
		return err
	}
	sockets, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	control, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	handler := centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{UseWriteBufferPool: true})
	mux := http.NewServeMux()
	mux.Handle("/connection/websocket", handler)
	go func() { log.Fatal(http.Serve(sockets, mux)) }()
	ready, err := json.Marshal(map[string]string{
		"address": sockets.Addr().String(),
		"control": control.Addr().String(),
	})
	if err != nil {
		return err
	}
	fmt.Println(string(ready))
	wishes, err := control.Accept()
	if err != nil {
		return err
	}
	return obey(node, wishes, channels)
}

func obey(node *centrifuge.Node, wishes net.Conn, channels int) error {
	lines := bufio.NewScanner(wishes)
	payload := []byte(strings.Repeat("x", payloadBytes))
	next := 0
	for lines.Scan() {
		var count int
		if _, err := fmt.Sscanf(lines.Text(), "publish %d", &count); err == nil {
			for range count {
				if _, err := node.Publish(fmt.Sprintf("c%d", next%channels), payload); err != nil {
					return err
				}
				next++
			}
			continue
		}
		if lines.Text() == "prepare" {
			if _, err := fmt.Fprintln(wishes, "prepared"); err != nil {
				return err
			}
			continue
		}
		bytes, err := resident()
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(wishes, bytes); err != nil {
			return err
		}
	}
	return lines.Err()
}

// Resident memory of this process, bytes.
func resident() (int, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(status), "\n") {
		var kilobytes int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kilobytes); err == nil {
			return kilobytes * 1024, nil
		}
	}
	return 0, fmt.Errorf("no VmRSS in /proc/self/status")
}
