//go:build unix

package redis_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/culvertd/culvert/hub"
	"github.com/culvertd/culvert/hub/needtest"
	"github.com/culvertd/culvert/store/redis"
	"github.com/culvertd/culvert/store/storetest"
)

// startCluster starts a cluster of n masters.
func startCluster(t testing.TB, n int) []*server {
	t.Helper()
	var nodes []*server
	for range n {
		nodes = append(nodes, startServer(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "5000"))
	}
	for i, s := range nodes {
		s.cli("cluster", "addslotsrange", fmt.Sprint(i*16384/n), fmt.Sprint((i+1)*16384/n-1))
		if i > 0 {
			s.cli("cluster", "meet", "127.0.0.1", fmt.Sprint(nodes[0].port), fmt.Sprint(nodes[0].port+10000))
		}
	}
	for _, s := range nodes {
		eventually(t, "the cluster is there", func() bool {
			info := s.cli("cluster", "info")
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprint("cluster_known_nodes:", n))
		}, nil)
	}
	return nodes
}

func clusterURL(nodes []*server) string {
	var hosts []string
	for _, s := range nodes {
		hosts = append(hosts, s.addr())
	}
	return "redis+cluster://" + strings.Join(hosts, ",")
}

func TestLawsCluster(t *testing.T) {
	needtest.Time(t, "the laws over a cluster take their time")
	nodes := startCluster(t, 3)
	b := serverBackend(t)
	open := func(t *testing.T, o storetest.Options) storetest.Instance {
		r := lawOptions(t, o, time.Hour)
		r.URL = clusterURL(nodes)
		s, err := redis.Open(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return storetest.Instance{Store: s, Advance: time.Sleep}
	}
	flush := func() {
		for _, s := range nodes {
			s.cli("flushall")
		}
	}
	b.Open = func(t *testing.T, o storetest.Options) storetest.Instance {
		flush()
		return open(t, o)
	}
	b.OpenTwo = func(t *testing.T, o storetest.Options) (x, y storetest.Instance) {
		flush()
		return open(t, o), open(t, o)
	}
	t.Run("One", func(t *testing.T) { storetest.Run(t, b) })
	t.Run("TwoNodes", func(t *testing.T) { storetest.RunTwoNodes(t, b) })
}

// TestClusterSubscriptions: sharded, and gone with the last watcher; a slot
// that moves takes its subscription along.
func TestClusterSubscriptions(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t, 2)
	s := open(t, redis.Options{URL: clusterURL(nodes)})
	var w recorder
	stop, err := s.Watch(t.Context(), "room", &w)
	if err != nil {
		t.Fatal(err)
	}
	w.hears(t, s, "room")
	channels := func() (out string) {
		for _, n := range nodes {
			out += n.cli("pubsub", "shardchannels")
		}
		return out
	}
	if c := channels(); c != s.Channel("room") {
		t.Errorf("channels: %q", c)
	}

	slot := nodes[0].cli("cluster", "keyslot", s.HeadKey("room"))
	from, to := nodes[0], nodes[1]
	if from.cli("cluster", "countkeysinslot", slot); !owns(from, s.HeadKey("room")) {
		from, to = to, from
	}
	before := mustPublish(t, s, message("room", "x")).Position
	ids := func(n *server) string { return n.cli("cluster", "myid") }
	to.cli("cluster", "setslot", slot, "importing", ids(from))
	from.cli("cluster", "setslot", slot, "migrating", ids(to))
	for _, key := range strings.Fields(from.cli("cluster", "getkeysinslot", slot, "100")) {
		from.cli("migrate", "127.0.0.1", fmt.Sprint(to.port), key, "0", "5000")
	}
	to.cli("cluster", "setslot", slot, "node", ids(to))
	from.cli("cluster", "setslot", slot, "node", ids(to))

	if p := mustPublish(t, s, message("room", "y")).Position; p.Epoch != before.Epoch || p.Offset != before.Offset+1 {
		t.Errorf("after %v came %v", before, p)
	}
	w.hears(t, s, "room")
	if w.resynced() == 0 {
		t.Error("nobody was told to resync")
	}
	stop()
	eventually(t, "unsubscribed", func() bool { return channels() == "" }, func() any { return channels() })
}

func owns(n *server, key string) bool {
	return !strings.Contains(n.cli("get", key), "MOVED")
}

// TestSentinelFailover: the master dies, a replica takes its place, and the
// store finds it.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	needtest.Time(t, "a failover takes its time")
	master := startServer(t)
	replica := startServer(t, "--replicaof", "127.0.0.1", fmt.Sprint(master.port))
	port := freePort(t)
	dir := t.TempDir()
	conf := filepath.Join(dir, "sentinel.conf")
	err := os.WriteFile(conf, fmt.Appendf(nil, "port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor main 127.0.0.1 %d 1\n"+
		"sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n", port, dir, master.port), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(needtest.Program(t, "redis-server", "valkey-server"), conf, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	eventually(t, "the sentinel knows both", func() bool {
		out, err := exec.Command(needtest.Program(t, "redis-cli", "valkey-cli"), "-p", fmt.Sprint(port), "sentinel", "replicas", "main").CombinedOutput()
		return err == nil && strings.Contains(string(out), fmt.Sprint(replica.port)) && !strings.Contains(string(out), "disconnected")
	}, nil)

	for _, srv := range []*server{master, replica} { // users are not replicated
		setUser(srv, leastRights(t)...)
	}
	s := open(t, redis.Options{URL: asUser(fmt.Sprintf("redis+sentinel://127.0.0.1:%d/main", port))})
	if _, err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	var w recorder
	stop, err := s.Watch(t.Context(), "room", &w)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	w.hears(t, s, "room")
	before := mustPublish(t, s, message("room", "x")).Position
	eventually(t, "replicated", func() bool { return strings.Contains(replica.cli("get", s.HeadKey("room")), before.ID) }, nil)
	master.kill()
	start := time.Now()
	after := mustPublish(t, s, message("room", "y")).Position
	t.Logf("took %v", time.Since(start))
	if after.Epoch != before.Epoch || after.Offset != before.Offset+1 {
		t.Errorf("after %v came %v", before, after)
	}
	w.hears(t, s, "room")
	if w.resynced() == 0 {
		t.Error("nobody was told to resync")
	}
}

// TestReadOnlyMeansElsewhere: a name that leads to another server after a
// failover, while the old one lives on as a replica.
func TestReadOnlyMeansElsewhere(t *testing.T) {
	t.Parallel()
	old, fresh := startServer(t), startServer(t)
	p := startProxy(t, old.addr())
	s := open(t, redis.Options{URL: p.url()})
	var w recorder
	stop, err := s.Watch(t.Context(), "room", &w)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	w.hears(t, s, "room")
	old.cli("replicaof", "127.0.0.1", fmt.Sprint(fresh.port))
	p.lead(fresh.addr())
	mustPublish(t, s, message("room", "x"))
	w.hears(t, s, "room")

	// One that does not find its master may be told to say nothing at all.
	third := startServer(t)
	fresh.cli("config", "set", "replica-serve-stale-data", "no")
	fresh.cli("replicaof", "127.0.0.1", fmt.Sprint(freePort(t)))
	p.lead(third.addr())
	mustPublish(t, s, message("room", "x"))
	w.hears(t, s, "room")
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert, private := write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", pkcs)
	port := freePort(t)
	plain := startServer(t, "--tls-port", fmt.Sprint(port), "--tls-cert-file", cert, "--tls-key-file", private,
		"--tls-ca-cert-file", cert, "--tls-auth-clients", "no")
	url := fmt.Sprintf("rediss://127.0.0.1:%d", port)

	if s, err := redis.Open(t.Context(), redis.Options{URL: url}); err == nil {
		s.Close()
		t.Error("an unknown certificate is accepted")
	}
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	// Who mistakes one kind of port for the other is told.
	for url, want := range map[string]string{
		"rediss://" + plain.addr():                        "redis:// is for a port that does not",
		fmt.Sprintf("redis://127.0.0.1:%d", port):         "rediss:// is for a port that does",
		"rediss://" + other.Listener.Addr().String():      "redis:// is for a port that does not",
		fmt.Sprintf("rediss://127.0.0.1:%d", freePort(t)): "refused",
	} {
		s, err := redis.Open(t.Context(), redis.Options{URL: url, DialTimeout: time.Second})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || want == "refused" && strings.Contains(err.Error(), "TLS there") {
			t.Errorf("%s: %v", url, err)
		}
	}
	roots := x509.NewCertPool()
	parsed, _ := x509.ParseCertificate(der)
	roots.AddCert(parsed)
	for name, o := range map[string]redis.Options{
		"known":    {URL: url, TLSConfig: &tls.Config{RootCAs: roots}},
		"insecure": {URL: url + "?insecure=true"},
	} {
		s := open(t, o)
		var w recorder
		stop, err := s.Watch(t.Context(), "room", &w)
		if err != nil {
			t.Fatal(err)
		}
		w.hears(t, s, "room")
		if r := publish(t.Context(), s, message("room", "x")); r.Err != nil {
			t.Errorf("%s: %v", name, r.Err)
		}
		stop()
	}
}

// TestWatchElsewhere: subscriptions that are left behind on a server where
// nothing is published any more are noticed without any error.
func TestWatchElsewhere(t *testing.T) {
	t.Parallel()
	old, fresh := startServer(t), startServer(t)
	p := startProxy(t, old.addr())
	o := redis.Options{URL: p.url()}
	o.SetProbeEvery(100 * time.Millisecond)
	s := open(t, o)
	var w recorder
	stop, err := s.Watch(t.Context(), "room", &w)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	w.hears(t, s, "room")
	p.lead(fresh.addr())
	old.cli("client", "kill", "type", "normal") // subscriptions are of another type, and stay
	eventually(t, "publishes go to the fresh one", func() bool {
		r := publish(t.Context(), s, message("room", "x"))
		return r.Err == nil && fresh.cli("exists", s.HeadKey("room")) == "1"
	}, nil)
	w.hears(t, s, "room")
	if w.resynced() == 0 {
		t.Error("nobody was told to resync")
	}
	if _, err := s.Read(t.Context(), hub.ReadRequest{Room: "room", Mode: hub.ReadLatest, Limit: 1}); err != nil && !errors.Is(err, hub.ErrBehind) {
		t.Error(err)
	}
}
