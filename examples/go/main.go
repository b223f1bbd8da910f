// Loads a BPF object on kernels with and without BTF, with cilium/ebpf and nothing else: the BTF comes from the cache of btf-fetch, or from an
// archive by plain HTTP.
//
//	BTF_ARCHIVE_URL=https://btf.example.org example program.bpf.o
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: example OBJECT")
	}
	types, err := kernelTypes()
	if err != nil {
		log.Fatal(err)
	}
	spec, err := ebpf.LoadCollectionSpec(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	// nil stands for the kernel's own.
	options := ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{KernelTypes: types}}
	collection, err := ebpf.NewCollectionWithOptions(spec, options)
	if err != nil {
		log.Fatal(err)
	}
	defer collection.Close()
	fmt.Println("loaded")
}

// kernelTypes gives the BTF of the running kernel where it has none of its own.
func kernelTypes() (*btf.Spec, error) {
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err == nil {
		return nil, nil
	}
	// btf-fetch knows all the places, verifies, and keeps what it fetched.
	if path, err := exec.Command("btf-fetch", "get", "--quiet", "--exact").Output(); err == nil {
		return btf.LoadSpec(strings.TrimSpace(string(path)))
	} else if !errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("btf-fetch: %w", err)
	}
	id, err := buildID()
	if err != nil {
		return nil, err
	}
	raw, err := fetch(os.Getenv("BTF_ARCHIVE_URL") + "/v1/btf/by-build-id/" + id)
	if err != nil {
		return nil, err
	}
	return btf.LoadSpecFromReader(bytes.NewReader(raw))
}

// fetch gets BTF from an archive and checks it against the digest that comes with it.
func fetch(url string) ([]byte, error) {
	client := http.Client{Timeout: 30 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, answer.Status)
	}
	raw, err := io.ReadAll(io.LimitReader(answer.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(raw)
	if answer.Header.Get("btf-digest") != "sha256:"+hex.EncodeToString(digest[:]) {
		return nil, fmt.Errorf("%s: not what was promised", url)
	}
	return raw, nil
}

// buildID reads the kernel's GNU build-id, by which there can be no mistake about whose BTF is wanted.
func buildID() (string, error) {
	notes, err := os.ReadFile("/sys/kernel/notes")
	if err != nil {
		return "", err
	}
	order := binary.LittleEndian // of an x86 or Arm machine; s390x is big-endian
	for len(notes) >= 12 {
		name, desc := int(order.Uint32(notes)), int(order.Uint32(notes[4:]))
		kind := order.Uint32(notes[8:])
		start := 12 + (name+3)&^3
		end := start + (desc+3)&^3
		if name < 0 || desc < 0 || end > len(notes) {
			break
		}
		if kind == 3 && string(notes[12:12+name]) == "GNU\x00" {
			return hex.EncodeToString(notes[start : start+desc]), nil
		}
		notes = notes[end:]
	}
	return "", errors.New("/sys/kernel/notes has no build-id")
}
