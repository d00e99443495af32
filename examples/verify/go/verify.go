// Verify and sign messages between fallow and a platform: Standard Webhooks 1.0.0, `v1a` (Ed25519) and `v1` (HMAC-SHA-256).
// Go's standard library only. As a program it tries itself on the test vectors: `go run verify.go < ../vectors.tsv`.
package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	window         = 300 // seconds between the sender's clock and yours, either way
	mostSignatures = 8
	longestHeader  = 2048
	mostKeys       = 4
)

var (
	idForm        = regexp.MustCompile(`\Amsg_[A-Za-z0-9]{16,64}\z`)
	letter        = regexp.MustCompile(`[A-Za-z]`)
	sevenDigits   = regexp.MustCompile(`[0-9]{7}`)
	timestampForm = regexp.MustCompile(`\A[1-9][0-9]{0,10}\z`)
)

// Verify tells whether the owner of one of keys has signed this very body just now.
//
// id, timestamp and signature are the headers webhook-id, webhook-timestamp and webhook-signature, empty where missing; body is the
// bytes as they came, to be parsed afterwards; keys are the sender's active keys, whpk_… (Ed25519) or whsec_… (shared secret).
func Verify(id, timestamp, signature string, body []byte, keys []string, now time.Time) bool {
	if !idForm.MatchString(id) || !letter.MatchString(id[len("msg_"):]) || sevenDigits.MatchString(id) {
		return false
	}
	if !timestampForm.MatchString(timestamp) || len(keys) < 1 || len(keys) > mostKeys {
		return false
	}
	at, err := strconv.ParseInt(timestamp, 10, 64)
	if skew := now.Unix() - at; err != nil || skew > window || skew < -window {
		return false
	}
	tokens := strings.Split(signature, " ")
	if len(signature) > longestHeader || len(tokens) > mostSignatures {
		return false
	}
	content, good := contentOf(id, timestamp, body), false
	for _, key := range keys { // every pair is tried, so that the time taken does not tell which was the good one
		for _, token := range tokens {
			if matches(key, token, content) {
				good = true
			}
		}
	}
	return good
}

// Sign returns the header webhook-signature for a body that is sent at timestamp, unix seconds.
func Sign(secret, id string, timestamp int64, body []byte) string {
	content := contentOf(id, strconv.FormatInt(timestamp, 10), body)
	if shared, found := strings.CutPrefix(secret, "whsec_"); found {
		return "v1," + base64.StdEncoding.EncodeToString(hmacOf(shared, content))
	}
	key := ed25519.NewKeyFromSeed(strictBase64(strings.TrimPrefix(secret, "whsk_"))[:ed25519.SeedSize])
	return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(key, content))
}

func contentOf(id, timestamp string, body []byte) []byte {
	return append([]byte(id+"."+timestamp+"."), body...)
}

func matches(key, token string, content []byte) bool {
	scheme, text, _ := strings.Cut(token, ",")
	made := strictBase64(text)
	if shared, found := strings.CutPrefix(key, "whsec_"); found && scheme == "v1" {
		return hmac.Equal(made, hmacOf(shared, content))
	}
	if public, found := strings.CutPrefix(key, "whpk_"); found && scheme == "v1a" {
		raw := strictBase64(public)
		return len(raw) == ed25519.PublicKeySize && len(made) == ed25519.SignatureSize && ed25519.Verify(raw, content, made)
	}
	return false
}

func hmacOf(shared string, content []byte) []byte {
	mac := hmac.New(sha256.New, strictBase64(shared))
	mac.Write(content)
	return mac.Sum(nil)
}

// strictBase64 decodes base64 in its one canonical spelling; anything else gives no bytes, which are no signature.
func strictBase64(text string) []byte {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || base64.StdEncoding.EncodeToString(raw) != text {
		return nil
	}
	return raw
}

func main() {
	wrong, lines := 0, bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		cells := strings.Split(lines.Text(), "\t")
		if strings.HasPrefix(lines.Text(), "#") || len(cells) != 9 {
			continue
		}
		kind, name, expected, keys := cells[0], cells[1], cells[2], cells[3]
		now, _ := strconv.ParseInt(cells[4], 10, 64)
		id, timestamp, signature, body := header(cells[5]), header(cells[6]), header(cells[7]), strictBase64(cells[8])
		found := "refused"
		if kind == "sign" {
			at, _ := strconv.ParseInt(timestamp, 10, 64)
			found = Sign(keys, id, at, body)
		} else if Verify(id, timestamp, signature, body, strings.Fields(keys), time.Unix(now, 0)) {
			found = "ok"
		}
		remark := ""
		if found != expected {
			wrong, remark = 1, "but expected: "+expected
		}
		fmt.Println(name + "\t" + found + "\t" + remark)
	}
	os.Exit(wrong)
}

func header(cell string) string {
	if cell == "-" {
		return ""
	}
	return string(strictBase64(cell))
}
