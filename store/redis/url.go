package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// Address is what a URL says about where Redis is.
type Address struct {
	// Mode is "single", "sentinel" or "cluster".
	Mode string
	// Hosts are host:port, of Redis or of the sentinels. For a socket it is
	// one path.
	Hosts []string
	// Socket: the host is the path of a Unix socket.
	Socket bool
	// TLS, and whether the server's certificate goes unchecked.
	TLS, Insecure bool
	// Username and Password are for Redis. Never print them.
	Username, Password string
	// SentinelUsername and SentinelPassword are for the sentinels.
	SentinelUsername, SentinelPassword string
	// Master is the name the sentinels know the master by.
	Master string
	DB     int
}

// String names the address without its secrets.
func (a Address) String() string {
	s := a.Mode + " " + strings.Join(a.Hosts, ",")
	if a.Master != "" {
		s += "/" + a.Master
	}
	return s + "/" + strconv.Itoa(a.DB)
}

// errURL begins every message about a URL. What url.Parse says is not passed
// on: it quotes the text, and with it the password.
var errURL = errors.New("redis: bad URL")

// encoded ends messages whose cause may be a password that breaks the URL.
const encoded = " (in a password, / ? # and %% must be percent-encoded)"

// ParseURL reads
//
//	redis://[user:password@]host[:6379][/db]
//	redis+cluster://[user:password@]host[:6379][,host…]
//	redis+sentinel://[user:password@]host[:26379][,host…]/master[/db]
//	unix://[user:password@]/path/of/socket[?db=n]
//
// with rediss (or rediss+cluster, rediss+sentinel) for TLS, and valkey and
// valkeys as other names for redis and rediss. A password alone is written
// redis://:password@host. Query parameters: insecure=true leaves the server's
// certificate unchecked; sentinel_username and sentinel_password are for the
// sentinels, where they want them.
func ParseURL(text string) (Address, error) {
	bad := func(format string, args ...any) (Address, error) {
		return Address{}, fmt.Errorf("%w: "+format, append([]any{errURL}, args...)...)
	}
	if text == "" {
		return bad("it is empty, wanted redis://host:6379")
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return bad("it has no scheme, wanted redis://host:6379")
	}
	a := Address{Mode: "single"}
	proto, mode, _ := strings.Cut(scheme, "+")
	switch proto {
	case "redis", "valkey":
	case "rediss", "valkeys":
		a.TLS = true
	case "unix":
		a.Socket = true
	default:
		return bad("unknown scheme, allowed are redis, rediss, redis+sentinel, redis+cluster and unix")
	}
	switch {
	case mode == "":
	case !a.Socket && (mode == "sentinel" || mode == "cluster"):
		a.Mode = mode
	default:
		return bad("unknown scheme, allowed are redis, rediss, redis+sentinel, redis+cluster and unix")
	}

	// The hosts may be several, which url.Parse does not know; what is before
	// and behind them it does.
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	if i := strings.LastIndex(authority, "@"); i >= 0 {
		user, password, _ := strings.Cut(authority[:i], ":")
		authority = authority[i+1:]
		var err1, err2 error
		a.Username, err1 = url.PathUnescape(user)
		a.Password, err2 = url.PathUnescape(password)
		if err1 != nil || err2 != nil {
			return bad("user and password must be percent-encoded")
		}
	}
	u, err := url.Parse(tail)
	if err != nil || u.Fragment != "" {
		return bad("what follows the host cannot be read" + encoded)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad("the query cannot be read")
	}
	db := query.Get("db")
	for name := range query {
		switch name {
		case "insecure":
			if a.Insecure, err = strconv.ParseBool(query.Get(name)); err != nil {
				return bad("insecure must be true or false")
			}
		case "sentinel_username":
			a.SentinelUsername = query.Get(name)
		case "sentinel_password":
			a.SentinelPassword = query.Get(name)
		case "db":
		default:
			// Not quoted: behind a question mark in a password that is not
			// encoded comes the rest of the password.
			return bad("unknown parameter, known are db, insecure, sentinel_username, sentinel_password" + encoded)
		}
	}
	if a.Insecure && !a.TLS {
		return bad("insecure is for rediss")
	}

	if a.Socket {
		if authority != "" || u.Path == "" {
			return bad("wanted unix:///path/of/socket")
		}
		a.Hosts = []string{u.Path}
	} else {
		port := "6379"
		if a.Mode == "sentinel" {
			port = "26379"
		}
		for host := range strings.SplitSeq(authority, ",") {
			addr, err := hostPort(host, port)
			if err != nil {
				return bad("host %d cannot be read, wanted host:port"+encoded, len(a.Hosts)+1)
			}
			a.Hosts = append(a.Hosts, addr)
		}
		path := strings.Trim(u.Path, "/")
		if a.Mode == "sentinel" {
			var more string
			a.Master, more, _ = strings.Cut(path, "/")
			path = more
			if a.Master == "" {
				return bad("the name of the master is missing, wanted redis+sentinel://host:26379/master")
			}
			if strings.Contains(a.Master, "@") { // it is logged, and this is the end of a password
				return bad("the name of the master cannot be read" + encoded)
			}
		}
		if a.Mode == "single" && len(a.Hosts) > 1 {
			return bad("several hosts are for redis+sentinel and redis+cluster")
		}
		if path != "" && db == "" {
			db = path
		}
	}
	if db != "" {
		if a.DB, err = strconv.Atoi(db); err != nil || a.DB < 0 || a.DB > 1<<16 {
			return bad("the database must be a number from 0")
		}
		if a.Mode == "cluster" && a.DB != 0 {
			return bad("a cluster has database 0 only")
		}
	}
	return a, nil
}

// hostPort completes host, host:port, [v6] or [v6]:port.
func hostPort(s, port string) (string, error) {
	host := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		host = s[1 : len(s)-1]
	} else if strings.Contains(s, ":") {
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", err
		}
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", errURL
	}
	for i := 0; i < len(host); i++ {
		if c := host[i]; !isPlain(c) || c == '~' || c == '@' {
			return "", errURL
		}
	}
	if host == "" {
		return "", errURL
	}
	return net.JoinHostPort(host, port), nil
}

// clientOption is what rueidis is told.
func (a Address) clientOption(o Options, conns *connections) rueidis.ClientOption {
	c := rueidis.ClientOption{
		InitAddress: a.Hosts,
		Username:    a.Username,
		Password:    a.Password,
		SelectDB:    a.DB,
		// One connection for all commands: they fill the pipeline together, and
		// two would only share the server's one core.
		PipelineMultiplex: -1,
		// A command that changes something must never be sent again behind our
		// back, and what is read is repeated here, with the caller's deadline.
		DisableRetry: true,
		DisableCache: true,
		AlwaysRESP2:  o.RESP2,
		// A connection that owes an answer is pinged every second and given up
		// after CommandTimeout: no timer for each command.
		ConnWriteTimeout:    o.CommandTimeout,
		ReadBufferEachConn:  128 << 10,
		WriteBufferEachConn: 128 << 10,
		ForceSingleClient:   a.Mode == "single",
	}
	c.Dialer.Timeout = o.DialTimeout
	c.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, tc *tls.Config) (net.Conn, error) {
		return conns.dial(ctx, a.Socket, addr, d, tc)
	}
	if a.TLS {
		c.TLSConfig = o.TLSConfig
		if c.TLSConfig == nil {
			c.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: a.Insecure}
		}
	}
	if a.Mode == "sentinel" {
		c.Sentinel.MasterSet = a.Master
		c.Sentinel.Username, c.Sentinel.Password = a.SentinelUsername, a.SentinelPassword
		c.Sentinel.Dialer = c.Dialer
		c.Sentinel.TLSConfig = c.TLSConfig
		// A missed announcement would bind this node to the old master for ever.
		c.Sentinel.TopologyRefreshInterval = topologyRefresh
	}
	if a.Mode == "cluster" {
		c.ClusterOption.ShardsRefreshInterval = topologyRefresh
		c.ClusterOption.MaxMovedRedirections = 8
	}
	return c
}
