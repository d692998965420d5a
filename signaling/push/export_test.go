package push

import "time"

// Public is public.
var Public = public

// DecodeJob is decodeJob.
func DecodeJob(data []byte) error {
	_, err := decodeJob(data)
	return err
}

// SetAgain sets the least wait between two attempts.
func SetAgain(q *Queue, d time.Duration) { q.again = d }
