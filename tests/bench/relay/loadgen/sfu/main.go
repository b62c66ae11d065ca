// Command sfu is a small selective forwarding unit in Pion, to measure beside ours: one publisher, any number of viewers, POST /pub
// and POST /sub. It prints its port and serves until it is killed.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"

	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
)

type sfu struct {
	api   *webrtc.API
	mutex sync.Mutex
	track *webrtc.TrackLocalStaticRTP
}

func main() {
	plain := flag.Bool("plain", false, "without Pion's default interceptors (NACK, reports, congestion feedback)")
	flag.Parse()
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		log.Fatal(err)
	}
	interceptors := &interceptor.Registry{}
	if !*plain {
		if err := webrtc.RegisterDefaultInterceptors(media, interceptors); err != nil {
			log.Fatal(err)
		}
	}
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	s := &sfu{api: webrtc.NewAPI(
		webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(interceptors), webrtc.WithSettingEngine(settings),
	)}
	http.HandleFunc("POST /pub", s.handle(s.publish))
	http.HandleFunc("POST /sub", s.handle(s.subscribe))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(http.Serve(listener, nil))
}

func (s *sfu) handle(prepare func(*webrtc.PeerConnection) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer, err := s.answer(r.Body, prepare)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, answer)
	}
}

func (s *sfu) answer(body io.Reader, prepare func(*webrtc.PeerConnection) error) (string, error) {
	offer, err := io.ReadAll(body)
	if err != nil {
		return "", err
	}
	pc, err := s.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return "", err
	}
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateFailed || state == webrtc.PeerConnectionStateDisconnected {
			_ = pc.Close()
		}
	})
	if err := prepare(pc); err != nil {
		return "", err
	}
	description := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(offer)}
	if err := pc.SetRemoteDescription(description); err != nil {
		return "", err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-gathered
	return pc.LocalDescription().SDP, nil
}

func (s *sfu) publish(pc *webrtc.PeerConnection) error {
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "video", "sfu")
	if err != nil {
		return err
	}
	s.mutex.Lock()
	s.track = track
	s.mutex.Unlock()
	pc.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			packet, _, err := remote.ReadRTP()
			if err != nil {
				return
			}
			_ = track.WriteRTP(packet)
		}
	})
	return nil
}

func (s *sfu) subscribe(pc *webrtc.PeerConnection) error {
	s.mutex.Lock()
	track := s.track
	s.mutex.Unlock()
	if track == nil {
		return fmt.Errorf("nobody publishes")
	}
	sender, err := pc.AddTrack(track)
	if err != nil {
		return err
	}
	go func() { // interceptors see RTCP only when somebody reads it
		buffer := make([]byte, 1500)
		for {
			if _, _, err := sender.Read(buffer); err != nil {
				return
			}
		}
	}()
	return nil
}
