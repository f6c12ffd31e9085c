// Verifies a tlog-tiles directory with the Go project's own packages, golang.org/x/mod/sumdb/{note,tlog}: the
// reference implementation of notes and tiles. Nothing of Concordat's is in it.
//
// usage: tlog -key KEY [-witness KEY]... [-older FILE]... [-proof FILE]... DIRECTORY
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// fault ends the program: what was asked for does not hold.
func fault(format string, arguments ...interface{}) {
	fmt.Printf("fault: "+format+"\n", arguments...)
	os.Exit(1)
}

// cosignature is a note.Verifier for C2SP cosignature/v1, which the package has not got yet.
type cosignature struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (c cosignature) Name() string    { return c.name }
func (c cosignature) KeyHash() uint32 { return c.hash }
func (c cosignature) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(signature), text)
	return ed25519.Verify(c.key, []byte(message), signature[8:])
}

func witness(text string) (note.Verifier, error) {
	parts := strings.SplitN(text, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("not a key")
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 33 || key[0] != 4 {
		return nil, errors.New("not a cosigner's key")
	}
	digest := sha256.Sum256(append([]byte(parts[0]+"\n"), key...))
	hash := binary.BigEndian.Uint32(digest[:])
	if fmt.Sprintf("%08x", hash) != parts[1] {
		return nil, errors.New("the key's hash is not its own")
	}
	return cosignature{parts[0], hash, key[1:]}, nil
}

// directory reads tiles for tlog.TileHashReader, which authenticates them against the root.
type directory string

func (d directory) Height() int                                { return 8 }
func (d directory) SaveTiles(tiles []tlog.Tile, data [][]byte) {}
func (d directory) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		// The package names the height in a path; C2SP, where it is always 8, does not.
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		data, err := os.ReadFile(filepath.Join(string(d), path))
		if err != nil {
			return nil, err
		}
		if len(data) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s has %d bytes", path, len(data))
		}
		all = append(all, data)
	}
	return all, nil
}

func open(signed []byte, key note.Verifier, witnesses []note.Verifier, quorum int) tlog.Tree {
	opened, err := note.Open(signed, note.VerifierList(append([]note.Verifier{key}, witnesses...)...))
	if err != nil {
		fault("checkpoint: %v", err)
	}
	cosigned, byLog := 0, false
	for _, signature := range opened.Sigs {
		if signature.Name == key.Name() && signature.Hash == key.KeyHash() {
			byLog = true
		} else {
			cosigned++
		}
	}
	if !byLog || cosigned < quorum {
		fault("checkpoint: signed by the log: %v, by %d witnesses", byLog, cosigned)
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != key.Name() {
		fault("checkpoint: of another log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		fault("checkpoint: %v", err)
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		fault("checkpoint: %v", err)
	}
	return tlog.Tree{N: size, Hash: root}
}

func read(path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		fault("%v", err)
	}
	return data
}

// entries reads every bundle of a tree of this size.
func entries(path string, size int64) [][]byte {
	var all [][]byte
	for first := int64(0); first < size; first += 256 {
		tile := tlog.Tile{H: 8, L: 0, N: first / 256, W: 256}
		if size-first < 256 {
			tile.W = int(size - first)
		}
		data := read(filepath.Join(path, "tile/entries/"+strings.TrimPrefix(tile.Path(), "tile/8/0/")))
		for count := 0; count < tile.W; count++ {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				fault("entry %d: the bundle ends", first+int64(count))
			}
			length := 2 + int(binary.BigEndian.Uint16(data))
			all = append(all, data[2:length])
			data = data[length:]
		}
		if len(data) != 0 {
			fault("the bundle of entry %d is too long", first)
		}
	}
	return all
}

// stored is a tree made anew from the entries alone.
type stored []tlog.Hash

func (s *stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for _, index := range indexes {
		if index >= int64(len(*s)) {
			return nil, errors.New("no such hash")
		}
		hashes = append(hashes, (*s)[index])
	}
	return hashes, nil
}

func checkProof(file string, all [][]byte, key note.Verifier) {
	text := string(read(file))
	at := strings.Index(text, "\n\n")
	if at < 0 {
		fault("proof: malformed")
	}
	lines := strings.Split(text[:at], "\n")
	if len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(lines[1], "index ") {
		fault("proof: malformed")
	}
	index, err := strconv.ParseInt(lines[1][len("index "):], 10, 64)
	if err != nil || index >= int64(len(all)) {
		fault("proof: index %v", err)
	}
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			fault("proof: %v", err)
		}
		proof = append(proof, hash)
	}
	tree := open([]byte(text[at+2:]), key, nil, 0)
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(all[index])); err != nil {
		fault("proof of entry %d: %v", index, err)
	}
}

func main() {
	var key note.Verifier
	var witnesses []note.Verifier
	var older, proofs []string
	var err error
	arguments := os.Args[1:]
	for ; len(arguments) > 2; arguments = arguments[2:] {
		value := arguments[1]
		switch arguments[0] {
		case "-key":
			key, err = note.NewVerifier(value)
		case "-witness":
			var verifier note.Verifier
			verifier, err = witness(value)
			witnesses = append(witnesses, verifier)
		case "-older":
			older = append(older, value)
		case "-proof":
			proofs = append(proofs, value)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	path := arguments[0]
	tree := open(read(filepath.Join(path, "checkpoint")), key, witnesses, len(witnesses))
	all := entries(path, tree.N)

	// The tree anew from the entries alone.
	var hashes stored
	for index, entry := range all {
		more, err := tlog.StoredHashes(int64(index), entry, &hashes)
		if err != nil {
			fault("entry %d: %v", index, err)
		}
		hashes = append(hashes, more...)
	}
	root, err := tlog.TreeHash(tree.N, &hashes)
	if err != nil || root != tree.Hash {
		fault("the entries are not those of the checkpoint: %v", err)
	}

	// Every leaf's hash through the tiles, each tile authenticated up to the root.
	reader := tlog.TileHashReader(tree, directory(path))
	for first := int64(0); first < tree.N; first += 256 {
		var indexes []int64
		for index := first; index < first+256 && index < tree.N; index++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, index))
		}
		found, err := reader.ReadHashes(indexes)
		if err != nil {
			fault("tiles: %v", err)
		}
		for at, hash := range found {
			if hash != tlog.RecordHash(all[first+int64(at)]) {
				fault("entry %d is not what its tile says", first+int64(at))
			}
		}
	}
	// Every tile that there must be, byte for byte.
	for _, tile := range tlog.NewTiles(8, 0, tree.N) {
		// The package lists partial tiles of every width on the way; a tree has those of its own size.
		if tile.W < 256 && int64(tile.W) != (tree.N>>uint(8*tile.L))%256 {
			continue
		}
		made, err := tlog.ReadTileData(tile, &hashes)
		if err != nil {
			fault("%s: %v", tile.Path(), err)
		}
		found, err := directory(path).ReadTiles([]tlog.Tile{tile})
		if err != nil || !bytes.Equal(found[0], made) {
			fault("%s is not the tree's: %v", tile.Path(), err)
		}
	}

	for _, file := range older {
		before := open(read(file), key, nil, 0)
		proof, err := tlog.ProveTree(tree.N, before.N, reader)
		if err != nil {
			fault("%s: no proof that it is a prefix: %v", file, err)
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, before.N, before.Hash); err != nil {
			fault("%s is no prefix: %v", file, err)
		}
	}
	for _, file := range proofs {
		checkProof(file, all, key)
	}
	fmt.Printf("ok: %d entries\n", tree.N)
}
