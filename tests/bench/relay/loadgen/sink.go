package main

import (
	"encoding/binary"
	"net"
	"sync"
)

// sink is a socket that keeps RTP to itself: it counts the packets and the gaps in their numbers and gives the WebRTC stack all the
// rest, so the connection stays alive. Reading a packet costs a fraction of decrypting it.
type sink struct {
	*net.UDPConn
	window  *window
	started chan struct{}

	mutex                     sync.Mutex
	begun                     bool
	received, missing, behind int
	next                      uint16
}

// ReadFrom is what Pion's multiplexer reads with.
func (s *sink) ReadFrom(buffer []byte) (int, net.Addr, error) {
	for {
		n, from, err := s.UDPConn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return n, nil, err
		}
		if n < 12 || buffer[0]>>6 != 2 || (buffer[1] >= 192 && buffer[1] <= 223) {
			return n, net.UDPAddrFromAddrPort(from), nil
		}
		s.count(binary.BigEndian.Uint16(buffer[2:]))
	}
}

// count takes the numbers of the packets that arrive in the measured window. The header of SRTP is not encrypted.
func (s *sink) count(sequence uint16) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if !s.begun {
		s.begun = true
		close(s.started)
		s.next = sequence
	}
	ahead := int16(sequence - s.next)
	if ahead >= 0 {
		s.next = sequence + 1
	}
	if !s.window.holds(nanoseconds()) {
		return
	}
	s.received++
	if ahead > 0 {
		s.missing += int(ahead)
	} else if ahead < 0 {
		s.behind++ // it was counted as missing before
	}
}

// result is how many packets arrived in the window, and how many of them should have and did not.
func (s *sink) result() (received, missing int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.received, max(0, s.missing-s.behind)
}
