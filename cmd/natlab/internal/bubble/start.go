package bubble

import (
	"errors"
	"flag"
	"io"
	"reflect"
	"sync"
	"testing"
	"time"
)

var startOnce sync.Mutex

// Start makes a runner for a program that is not a test: package testing gives bubbles to
// tests alone, so it is told to run one, which lasts as long as the process and never
// comes to the verdict that it would print. It may be called once in a process, and takes
// flag.CommandLine.
func Start() (*Runner, error) {
	if !startOnce.TryLock() {
		return nil, errors.New("bubble: started already")
	}
	testing.Init()
	// Timeouts would be those of the whole program.
	if err := flag.CommandLine.Parse([]string{"-test.timeout=0"}); err != nil {
		return nil, err
	}
	test := make(chan *testing.T)
	m := testing.MainStart(program{}, []testing.InternalTest{{Name: "natlab", F: func(t *testing.T) {
		test <- t
		select {}
	}}}, nil, nil, nil)
	go m.Run()
	return &Runner{<-test}, nil
}

// program is what package testing wants to know of a program with tests. It is asked for
// nothing but names.
type program struct{}

func (program) ImportPath() string                          { return "natlab" }
func (program) ModulePath() string                          { return "" }
func (program) MatchString(string, string) (bool, error)    { return true, nil }
func (program) SetPanicOnExit0(bool)                        {}
func (program) StartCPUProfile(io.Writer) error             { return errors.ErrUnsupported }
func (program) StopCPUProfile()                             {}
func (program) StartTestLog(io.Writer)                      {}
func (program) StopTestLog() error                          { return nil }
func (program) WriteProfileTo(string, io.Writer, int) error { return errors.ErrUnsupported }

func (program) CoordinateFuzzing(time.Duration, int64, time.Duration, int64, int, []entry, []reflect.Type, string, string) error {
	return errors.ErrUnsupported
}
func (program) RunFuzzWorker(func(entry) error) error              { return errors.ErrUnsupported }
func (program) ReadCorpus(string, []reflect.Type) ([]entry, error) { return nil, errors.ErrUnsupported }
func (program) CheckCorpus([]any, []reflect.Type) error            { return nil }
func (program) ResetCoverage()                                     {}
func (program) SnapshotCoverage()                                  {}
func (program) InitRuntimeCoverage() (mode string, tearDown func(string, string) (string, error), snapcov func() float64) {
	return
}

// entry is an entry of a fuzzing corpus.
type entry = struct {
	Parent     string
	Path       string
	Data       []byte
	Values     []any
	Generation int
	IsSeed     bool
}
