package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// image is the package that depends on the newest kernel of a suite: the one for virtual
// machines, which is of the same source as all others, and smaller.
const image = "linux-image-cloud-amd64"

// kernel is one that can be booted.
type kernel struct {
	release string
	image   string
	modules []string // that the tests use, for [load] to try in any order
}

// wanted are the modules that the tests use.
var wanted = []string{
	"veth", "dummy", "sch_ingress", "cls_bpf", "af_packet",
	"8021q", "garp", "mrp", "stp", "llc", // the first needs the others; what the rest need is built in
}

// fetch downloads a suite's kernel, unless it is there, and unpacks it.
func fetch(ctx context.Context, dir, suite string) (kernel, error) {
	root := filepath.Join(dir, "root")
	if k, err := find(root); err == nil {
		return k, nil
	}
	apt, err := configure(ctx, dir, suite)
	if err != nil {
		return kernel{}, err
	}
	if _, err := command(ctx, dir, "apt-get", append(slices.Clip(apt), "-qq", "update")...); err != nil {
		return kernel{}, err
	}
	packages, err := resolve(ctx, dir, apt)
	if err != nil {
		return kernel{}, err
	}
	if _, err := command(ctx, dir, "apt-get", append(append(slices.Clip(apt), "-qq", "download"), packages...)...); err != nil {
		return kernel{}, err
	}
	if err := errors.Join(os.RemoveAll(root), os.RemoveAll(root+".part")); err != nil {
		return kernel{}, err
	}
	for _, p := range packages {
		debs, err := filepath.Glob(filepath.Join(dir, p+"_*.deb"))
		if err != nil || len(debs) == 0 {
			return kernel{}, errors.Join(err, errors.New("apt-get did not download "+p))
		}
		if _, err := command(ctx, dir, "dpkg-deb", "-x", debs[len(debs)-1], root+".part"); err != nil {
			return kernel{}, err
		}
	}
	if err := os.Rename(root+".part", root); err != nil {
		return kernel{}, err
	}
	return find(root)
}

// resolve returns the packages that a suite's kernel is in: one, or two on which that depends.
func resolve(ctx context.Context, dir string, apt []string) (packages []string, err error) {
	pattern := regexp.MustCompile(`Depends: (linux-(?:image|binary|modules)-\S+)`)
	for next := []string{image}; len(next) > 0; next = next[1:] {
		out, err := command(ctx, dir, "apt-cache", append(slices.Clip(apt), "depends", next[0])...)
		if err != nil {
			return nil, err
		}
		for _, m := range pattern.FindAllSubmatch(out, -1) {
			if p := string(m[1]); !slices.Contains(packages, p) {
				packages, next = append(packages, p), append(next, p)
			}
		}
	}
	if len(packages) == 0 {
		return nil, fmt.Errorf("%s depends on no image", image)
	}
	return packages, nil
}

// configure makes a configuration for apt that knows one suite and no installed package,
// and returns the options to use it.
func configure(ctx context.Context, dir, suite string) (options []string, err error) {
	for _, d := range []string{"lists/partial", "cache/archives/partial"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	mirror, failed := mirror(ctx, dir)
	source := fmt.Sprintf("deb [arch=amd64 signed-by=%s] %s %s main\n", keyring, mirror, suite)
	err = errors.Join(err, failed,
		os.WriteFile(filepath.Join(dir, "sources.list"), []byte(source), 0o644),
		os.WriteFile(filepath.Join(dir, "status"), nil, 0o644))
	for name, value := range map[string]string{
		"Dir::Etc::SourceList": "sources.list", "Dir::State::Lists": "lists", "Dir::State::status": "status", "Dir::Cache": "cache",
	} {
		options = append(options, "-o", name+"="+filepath.Join(dir, value))
	}
	return append(options, "-o", "Dir::Etc::SourceParts=/dev/null", "-o", "Acquire::Languages=none", "-o", "APT::Sandbox::User=root"), err
}

// keyring is Debian's, of the package debian-archive-keyring.
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// mirror is where this machine has Debian's packages from.
func mirror(ctx context.Context, dir string) (string, error) {
	out, err := command(ctx, dir, "apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages")
	for line := range strings.Lines(string(out)) {
		if label, uri, _ := strings.Cut(strings.TrimSpace(line), " "); label == "Debian" {
			return uri, nil
		}
	}
	return "", errors.Join(err, errors.New("apt knows no mirror of Debian here; apt-get update may help"))
}

// find finds the kernel that was unpacked, which newer packages have beside its modules.
func find(root string) (kernel, error) {
	for _, place := range []string{"boot/vmlinuz-*", "usr/lib/modules/*/vmlinuz"} {
		if images, err := filepath.Glob(filepath.Join(root, place)); err == nil && len(images) == 1 {
			return findModules(root, images[0])
		}
	}
	return kernel{}, fmt.Errorf("%s has no kernel: %w", root, os.ErrNotExist)
}

func findModules(root, image string) (k kernel, err error) {
	k = kernel{image: image, release: strings.TrimPrefix(filepath.Base(image), "vmlinuz-")}
	if k.release == "vmlinuz" {
		k.release = filepath.Base(filepath.Dir(image))
	}
	for _, tree := range []string{"lib/modules", "usr/lib/modules"} {
		err = errors.Join(err, filepath.WalkDir(filepath.Join(root, tree), func(path string, _ os.DirEntry, err error) error {
			name, _, _ := strings.Cut(filepath.Base(path), ".ko")
			for _, w := range wanted {
				if name == w && strings.Contains(filepath.Base(path), ".ko") {
					k.modules = append(k.modules, path)
				}
			}
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			return err
		}))
	}
	return k, err
}

// command runs a program in a folder and returns what it printed.
func command(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	var failed bytes.Buffer
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Stderr = dir, &failed
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(failed.Bytes()))
	}
	return out, nil
}
