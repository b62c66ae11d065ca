// Command loadgen is one publisher and N viewers in one process, and a stopwatch on the relay between them.
//
// It sends RTP packets of fixed size through the relay under test, checks at every viewer that they arrive in order, and reads the
// relay's CPU clock at both ends of the measured window. The result is one JSON object on standard output.
package main

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"golang.org/x/sys/unix"
)

const (
	absSendTime   = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
	orientation   = "urn:3gpp:video-orientation"
	receiveBuffer = 8 << 20
	stampOffset   = 4 // behind the VP8 payload descriptor and the first payload byte
)

type options struct {
	target, url, mode string
	pid, viewers      int
	decrypting        int
	packets, fps      int
	size              int
	warmup, window    time.Duration
}

// result is what the harness reads; times are microseconds.
type result struct {
	Viewers      int     `json:"viewers"`
	Sent         int     `json:"packets_sent"`
	Received     int     `json:"packets_received"`
	Lost         int     `json:"packets_lost"`
	Reordered    int     `json:"packets_out_of_order"`
	CPU          float64 `json:"relay_cpu_us"`
	Wall         float64 `json:"wall_us"`
	PerPacketOut float64 `json:"us_per_packet_out"`
	PerPacketIn  float64 `json:"us_per_packet_in"`
	P50          float64 `json:"latency_p50_us"`
	P99          float64 `json:"latency_p99_us"`
	Max          float64 `json:"latency_max_us"`
}

// signaller connects the load generator's ends to one kind of relay.
type signaller interface {
	publish(pc *webrtc.PeerConnection) error
	subscribe(pc *webrtc.PeerConnection) error
	close()
}

var base = time.Now()

func nanoseconds() int64 { return int64(time.Since(base)) }

// window is the measured interval; packets stamped inside it count.
type window struct{ from, to atomic.Int64 }

func (w *window) holds(stamp int64) bool {
	from, to := w.from.Load(), w.to.Load()
	return from != 0 && stamp >= from && (to == 0 || stamp < to)
}

type viewer struct {
	mutex     sync.Mutex
	sink      *sink // counts only
	received  int
	reordered int
	latencies []int32 // ns
	started   chan struct{}
}

func main() {
	o := parse()
	r, err := run(o)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		log.Fatal(err)
	}
}

func parse() options {
	var o options
	flag.StringVar(&o.target, "target", "http", "http: POST /pub and /sub with an offer; janus: its videoroom plugin; direct: no relay, one viewer")
	flag.StringVar(&o.url, "url", "", "where the relay's signalling is")
	flag.StringVar(&o.mode, "mode", "burst", "burst: a frame's packets back to back; pace: evenly spread")
	flag.IntVar(&o.pid, "pid", 0, "process whose CPU clock is read")
	flag.IntVar(&o.viewers, "viewers", 1, "")
	flag.IntVar(&o.decrypting, "decrypting", 1<<20,
		"how many viewers decrypt and time their packets; the others connect like them but then only count, so that this process does not "+
			"become what is measured")
	flag.IntVar(&o.packets, "packets", 26, "per frame")
	flag.IntVar(&o.fps, "fps", 60, "frames per second")
	flag.IntVar(&o.size, "size", 1200, "bytes of each RTP packet")
	flag.DurationVar(&o.warmup, "warmup", 1500*time.Millisecond, "")
	flag.DurationVar(&o.window, "window", 4*time.Second, "")
	flag.Parse()
	return o
}

func run(o options) (*result, error) {
	var s signaller
	var err error
	switch o.target {
	case "janus":
		s, err = newJanus(o.url)
	case "direct":
		s = &direct{}
	default:
		s = &httpSignaller{o.url}
	}
	if err != nil {
		return nil, err
	}
	defer s.close()
	var w window
	track, publisher, connected, err := newPublisher(s)
	if err != nil {
		return nil, fmt.Errorf("publisher: %w", err)
	}
	defer publisher.Close()
	stop := make(chan struct{})
	counted := make(chan int, 1)
	go func() {
		<-connected
		counted <- send(o, publisher, track, &w, stop)
	}()
	if o.target != "direct" {
		if err := await(connected, "publisher"); err != nil {
			return nil, err
		}
	}
	viewers := make([]*viewer, o.viewers)
	for i := range viewers {
		pc, v, err := newViewer(s, &w, o, i >= o.decrypting)
		if err != nil {
			return nil, fmt.Errorf("viewer %d: %w", i, err)
		}
		defer pc.Close()
		viewers[i] = v
	}
	for i, v := range viewers {
		if err := await(v.started, fmt.Sprintf("viewer %d", i)); err != nil {
			return nil, err
		}
	}
	time.Sleep(o.warmup)
	cpu, wall := cpuTime(o.pid), time.Now()
	w.from.Store(nanoseconds())
	time.Sleep(o.window)
	w.to.Store(nanoseconds())
	used, elapsed := cpuTime(o.pid)-cpu, time.Since(wall)
	time.Sleep(500 * time.Millisecond) // what is still under way
	close(stop)
	return summarise(o, <-counted, viewers, used, elapsed), nil
}

func await(ready chan struct{}, who string) error {
	select {
	case <-ready:
		return nil
	case <-time.After(15 * time.Second):
		return fmt.Errorf("%s: nothing happened for 15 s", who)
	}
}

func summarise(o options, sent int, viewers []*viewer, used, elapsed time.Duration) *result {
	r := &result{Viewers: o.viewers, Sent: sent, CPU: us(used), Wall: us(elapsed)}
	var all []int32
	for _, v := range viewers {
		if v.sink != nil {
			received, missing := v.sink.result()
			r.Received += received
			r.Lost += missing
			continue
		}
		v.mutex.Lock()
		r.Received += v.received
		r.Lost += sent - v.received
		r.Reordered += v.reordered
		all = append(all, v.latencies...)
		v.mutex.Unlock()
	}
	r.PerPacketIn = r.CPU / float64(sent)
	r.PerPacketOut = r.CPU / float64(sent*o.viewers)
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	if len(all) > 0 {
		at := func(q float64) float64 { return float64(all[int(q*float64(len(all)-1))]) / 1000 }
		r.P50, r.P99, r.Max = at(0.5), at(0.99), at(1)
	}
	return r
}

func us(d time.Duration) float64 { return float64(d) / 1000 }

// cpuTime reads the CPU clock of a process: user and system time of all its threads.
func cpuTime(pid int) time.Duration {
	if pid == 0 {
		return 0
	}
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|2, &t); err != nil {
		log.Fatalf("cpu clock of %d: %v", pid, err)
	}
	return time.Duration(t.Nano())
}

// newConnection makes a peer connection on a socket of its own with a large receive buffer: on a busy machine the load generator may not
// run for a while, and what its own sockets drop then must not look like the relay's loss.
//
// With counting, RTP stops at the socket and is only counted; the returned sink knows the result.
func newConnection(counting bool) (*webrtc.PeerConnection, *sink, error) {
	socket, err := net.ListenUDP("udp4", nil)
	if err != nil {
		return nil, nil, err
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	_ = socket.SetReadBuffer(receiveBuffer)
	_ = raw.Control(func(fd uintptr) { // past the system's limit, where we are privileged
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
	})
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetReceiveMTU(2048)
	var counter *sink
	var conn net.PacketConn = socket
	if counting {
		counter = &sink{UDPConn: socket, started: make(chan struct{})}
		conn = counter
	}
	settings.SetICEUDPMux(webrtc.NewICEUDPMux(nil, conn))
	api, err := newAPI(settings)
	if err != nil {
		return nil, nil, err
	}
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	return pc, counter, err
}

func newAPI(settings webrtc.SettingEngine) (*webrtc.API, error) {
	media := &webrtc.MediaEngine{}
	codec := webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000},
		PayloadType:        96,
	}
	if err := media.RegisterCodec(codec, webrtc.RTPCodecTypeVideo); err != nil {
		return nil, err
	}
	for _, uri := range []string{absSendTime, orientation} {
		extension := webrtc.RTPHeaderExtensionCapability{URI: uri}
		if err := media.RegisterHeaderExtension(extension, webrtc.RTPCodecTypeVideo); err != nil {
			return nil, err
		}
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(settings)), nil
}

func newPublisher(s signaller) (
	*webrtc.TrackLocalStaticRTP, *webrtc.PeerConnection, chan struct{}, error,
) {
	pc, _, err := newConnection(false)
	if err != nil {
		return nil, nil, nil, err
	}
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "video", "stream")
	if err != nil {
		return nil, nil, nil, err
	}
	direction := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}
	if _, err = pc.AddTransceiverFromTrack(track, direction); err != nil {
		return nil, nil, nil, err
	}
	connected := make(chan struct{})
	var once sync.Once
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(connected) })
		}
	})
	return track, pc, connected, s.publish(pc)
}

// send writes frames until stop is closed and returns how many packets it stamped inside the window.
func send(o options, pc *webrtc.PeerConnection, track *webrtc.TrackLocalStaticRTP, w *window, stop chan struct{}) int {
	extensions := map[string]uint8{}
	for _, e := range pc.GetSenders()[0].GetParameters().HeaderExtensions {
		extensions[e.URI] = uint8(e.ID)
	}
	packet := &rtp.Packet{Header: rtp.Header{Version: 2, SSRC: 1}}
	if id := extensions[absSendTime]; id != 0 {
		_ = packet.SetExtension(id, []byte{1, 2, 3})
	}
	if id := extensions[orientation]; id != 0 {
		_ = packet.SetExtension(id, []byte{0})
	}
	packet.Payload = make([]byte, o.size-packet.Header.MarshalSize())
	interval := time.Second / time.Duration(o.fps)
	gap := interval / time.Duration(o.packets)
	next, counted := time.Now(), 0
	for frame := 0; ; frame++ {
		select {
		case <-stop:
			return counted
		default:
		}
		for i := 0; i < o.packets; i++ {
			if o.mode == "pace" {
				time.Sleep(time.Until(next))
				next = next.Add(gap)
			}
			packet.SequenceNumber++
			packet.Timestamp = uint32(frame) * 90000 / uint32(o.fps)
			packet.Marker = i == o.packets-1
			describe(packet.Payload, i == 0, frame%300 == 0)
			stamp := nanoseconds()
			binary.BigEndian.PutUint64(packet.Payload[stampOffset:], uint64(stamp))
			if w.holds(stamp) {
				counted++
			}
			if err := track.WriteRTP(packet); err != nil {
				log.Print(err)
			}
		}
		if o.mode != "pace" {
			next = next.Add(interval)
			time.Sleep(time.Until(next))
		}
	}
}

// describe writes a VP8 payload descriptor with a picture id, and the bit that tells keyframes from others.
func describe(payload []byte, first, key bool) {
	payload[0] = 0x80
	if first {
		payload[0] = 0x90
	}
	payload[1], payload[2], payload[3] = 0x80, 1, 1
	if first && key {
		payload[3] = 0
	}
}

func newViewer(s signaller, w *window, o options, counting bool) (*webrtc.PeerConnection, *viewer, error) {
	pc, counter, err := newConnection(counting)
	if err != nil {
		return nil, nil, err
	}
	if counting {
		counter.window = w
		return pc, &viewer{sink: counter, started: counter.started}, s.subscribe(pc)
	}
	capacity := o.packets * o.fps * int(o.window/time.Second+1)
	v := &viewer{started: make(chan struct{}), latencies: make([]int32, 0, capacity)}
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { v.read(track, w) })
	return pc, v, s.subscribe(pc)
}

func (v *viewer) read(track *webrtc.TrackRemote, w *window) {
	buffer := make([]byte, 2048)
	var last uint16
	begun := false
	for {
		n, _, err := track.Read(buffer)
		if err != nil {
			return
		}
		now := nanoseconds()
		start := headerSize(buffer[:n])
		if start+stampOffset+8 > n {
			continue
		}
		sequence := binary.BigEndian.Uint16(buffer[2:])
		if !begun {
			begun = true
			close(v.started)
		}
		stamp := int64(binary.BigEndian.Uint64(buffer[start+stampOffset:]))
		if w.holds(stamp) {
			v.mutex.Lock()
			v.received++
			if sequence != last+1 {
				v.reordered++
			}
			v.latencies = append(v.latencies, int32(now-stamp))
			v.mutex.Unlock()
		}
		last = sequence
	}
}

func headerSize(packet []byte) int {
	size := 12 + 4*int(packet[0]&0x0F)
	if packet[0]&0x10 != 0 && len(packet) >= size+4 {
		size += 4 + 4*int(binary.BigEndian.Uint16(packet[size+2:]))
	}
	return size
}
