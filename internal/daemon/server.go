package daemon

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"pyro/api"
	"pyro/internal/buildid"
	"pyro/internal/vm"
	"pyro/internal/workspace"
)

const (
	// headerTime is how long a caller may take to send its request's head.
	headerTime = 30 * time.Second
	// idleConnTime is how long a connection may wait for its next request.
	idleConnTime = 10 * time.Second
	// graceTime is how long an ending process waits for the next request on a
	// connection that is open already.
	graceTime = time.Second
	// drainTime bounds how long calls that were cut off may take to end.
	drainTime = 30 * time.Second
)

// server serves the socket.
type server struct {
	options Options
	log     *slog.Logger
	parts   *parts
	vms     *vm.Manager
	spaces  *workspace.Manager
	life    *life
	table   routes
	started time.Time
	build   func() (string, error)
}

func newServer(o Options, log *slog.Logger, p *parts, vms *vm.Manager, spaces *workspace.Manager) *server {
	s := &server{
		options: o, log: log, parts: p, vms: vms, spaces: spaces, life: newLife(), started: time.Now(),
		build: sync.OnceValues(func() (string, error) { return buildid.Of(buildid.Self) }),
	}
	s.table = s.routes()
	return s
}

// serve serves l until the process shall end, and then whoever is connected.
func (s *server) serve(ctx context.Context, l *listener, idle time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go s.vms.Reaper(ctx)
	go s.life.watchIdle(idle, s.running)
	defer context.AfterFunc(ctx, func() {
		s.life.cut(api.Errorf(api.KindCanceled, "the background process was told to end"))
		s.life.stop()
	})()

	web := &http.Server{
		Handler: s.handler(), ConnState: s.life.connState, ReadHeaderTimeout: headerTime, IdleTimeout: idleConnTime,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := web.Serve(l); err != nil && s.isAlive() {
			s.log.Error("socket", "error", err)
			s.life.stop()
		}
	}()
	<-s.life.stopping
	l.drain()
	<-served
	s.drain(web)
	saving, done := context.WithTimeout(context.Background(), drainTime)
	defer done()
	s.spaces.SaveAll(saving)
}

// running counts the sandboxes that keep the process alive.
func (s *server) running() int { return s.vms.Running() + s.spaces.Running() }

func (s *server) isAlive() bool {
	select {
	case <-s.life.stopping:
		return false
	default:
		return true
	}
}

// drain waits until everyone who is connected has been served.
func (s *server) drain(web *http.Server) {
	begun := time.Now()
	for {
		calls, conns, idle := s.life.counts()
		waiting := conns > 0 && (conns > idle || time.Since(begun) < graceTime)
		if calls == 0 && !waiting {
			break
		}
		if s.life.now.Err() != nil && time.Since(begun) > drainTime {
			s.log.Warn("ending although calls are under way", "calls", calls)
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	web.Close()
}

func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/ping", s.ping)
	mux.Handle("POST /v1/{operation}", s)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(headerVersion, api.Version)
		c := &call{w: w}
		c.fail(api.Errorf(api.KindUsage, "%s %s is not part of the protocol", r.Method, r.URL.Path).WithHint("POST /v1/OPERATION"))
	})
	return mux
}

func (s *server) ping(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set(headerVersion, api.Version)
	c := &call{w: w}
	build, err := s.build()
	if err != nil {
		c.fail(err)
		return
	}
	body, _ := json.Marshal(map[string]any{"version": api.Version, "pid": os.Getpid(), "build": build})
	c.write(http.StatusOK, append(body, '\n'))
}
