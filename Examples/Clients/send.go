package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

const push = `{
  "device_token": "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0",
  "payload": {"aps": {"alert": "Tea is ready"}}
}`

func main() {
	url := os.Getenv("GODWIT_URL")
	if url == "" {
		url = "http://127.0.0.1:8025"
	}
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Post(url+"/push", "application/json", strings.NewReader(push))
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		problem, _ := io.ReadAll(response.Body)
		log.Fatalf("%s: %s", response.Status, problem)
	}
	var accepted struct {
		MsgID string `json:"msg_id"`
	}
	if err := json.NewDecoder(response.Body).Decode(&accepted); err != nil {
		log.Fatal(err)
	}
	fmt.Println(accepted.MsgID)
}
