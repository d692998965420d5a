package phone

// sequence counts the numbers that are missing between the first and the
// highest that came (RFC 3550 appendix A.3).
type sequence struct {
	begun bool
	base  uint64
	high  uint64
	came  uint64
}

func (s *sequence) saw(n uint16) (lost uint64) {
	if !s.begun {
		s.begun, s.base = true, 1<<16+uint64(n)
		s.high = s.base
	}
	ext := s.high&^0xffff | uint64(n)
	if int16(n-uint16(s.high)) > 0 && ext < s.high {
		ext += 1 << 16
	}
	if int16(n-uint16(s.high)) < 0 && ext > s.high {
		ext -= 1 << 16
	}
	s.high = max(s.high, ext)
	s.came++
	if expected := s.high - s.base + 1; expected > s.came {
		return expected - s.came
	}
	return 0
}
