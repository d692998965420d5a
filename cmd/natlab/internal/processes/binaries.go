package processes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The programs that calls are made of.
const (
	switchboard = "switchboard"
	softphone   = "softphone"
	natsServer  = "nats-server" // for scenarios with several nodes
)

// packages are what the programs are built from, where they are built.
var packages = map[string]string{
	switchboard: "switchboard/cmd/switchboard",
	softphone:   "switchboard/cmd/softphone",
	natsServer:  "github.com/nats-io/nats-server/v2",
}

// errNoProgram says that there is a program missing and no way to build it.
var errNoProgram = errors.New("no such program")

// programs finds programs by their names.
type programs map[string]string

// findPrograms returns where the programs are: in dir, where one is named; else built
// from this module into scratch, where the working directory is inside of it; else
// beside this executable or in PATH. Those in PATH may be of another version, which is
// why they are the last choice.
func findPrograms(ctx context.Context, dir, scratch string, names ...string) (programs, error) {
	switch root, err := moduleRoot(ctx); {
	case dir != "":
		return lookIn(dir, names)
	case err == nil && root != "":
		return build(ctx, root, scratch, names)
	}
	var found = programs{}
	for _, name := range names {
		path, err := besideOrInPath(name)
		if err != nil {
			return nil, fmt.Errorf("%s is neither beside natlab nor in PATH, and this is not Switchboard's repository, to build it: %w", name, errNoProgram)
		}
		found[name] = path
	}
	return found, nil
}

func lookIn(dir string, names []string) (programs, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	found := programs{}
	for _, name := range names {
		found[name] = filepath.Join(dir, name)
		if _, err := exec.LookPath(found[name]); err != nil {
			return nil, fmt.Errorf("%s: %w; go build -o %s %s", found[name], errNoProgram, dir, packages[name])
		}
	}
	return found, nil
}

func besideOrInPath(name string) (string, error) {
	if self, err := os.Executable(); err == nil {
		if path, err := exec.LookPath(filepath.Join(filepath.Dir(self), name)); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// moduleRoot is the folder of this module, "" where the working directory is not in it.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Dir}}").Output()
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(out)) {
		if path, dir, _ := strings.Cut(strings.TrimSpace(line), " "); path == "switchboard" {
			return dir, nil
		}
	}
	return "", nil
}

func build(ctx context.Context, root, scratch string, names []string) (programs, error) {
	dir := filepath.Join(scratch, "bin")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	args, found := []string{"build", "-o", dir + string(filepath.Separator)}, programs{}
	for _, name := range names {
		args = append(args, packages[name])
		found[name] = filepath.Join(dir, name)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w\n%s", strings.Join(names, ", "), err, out)
	}
	return found, nil
}
