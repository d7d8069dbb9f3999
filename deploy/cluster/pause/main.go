// Command pause holds the namespaces of a pod open until it is told to end: the
// image that containerd runs beside the containers of each pod.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	<-end
}
