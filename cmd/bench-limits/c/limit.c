/*
 * The limit that Culvert's delivery is measured against: one thread, one send(2) per subscriber and message, and nothing
 * else. It speaks as much of the protocol as "culvert bench" needs (POST /rooms/ROOM; GET /rooms/ROOM/ws, /sse, /stream),
 * writes the very bytes that Culvert would, keeps no history, and trusts its client.
 *
 *     limit PORT [K]
 *
 * With K > 1 it waits until K messages are there (2 ms at most) and writes them in one call. On SIGTERM it says on
 * standard error how many deliveries it made and what each cost by getrusage(2).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FD = 1 << 20, MAX_ROOMS = 64, MAX_REQUEST = 1 << 17, MAX_PENDING = 1 << 20, NAME = 200 };
enum kind { NEW, WS, SSE, NDJSON, KINDS };

static const char epoch[] = "0mi8c2k4x7q1a5";
static const char head_ws[] =
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"; /* the bench's key is always the same */
static const char head_stream[] = "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n";

/* what waits to be written to the subscribers of one kind, in its wire form */
struct buffer {
	char *bytes;
	size_t n;
};

struct room {
	char name[NAME + 1];
	unsigned long offset;
	int *fds[KINDS];
	int n[KINDS], space[KINDS];
	struct buffer pending[KINDS];
	int messages;
};

struct conn {
	char *in; /* a request that is not complete, else NULL */
	size_t n;
	struct room *room;
	enum kind kind;
};

static struct conn *conns;
static struct room rooms[MAX_ROOMS];
static int room_count, together = 1;
static unsigned long deliveries;
static volatile sig_atomic_t over;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void on_term(int sig)
{
	(void)sig;
	over = 1;
}

static long long micros(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static struct room *find_room(const char *name, size_t n)
{
	for (int i = 0; i < room_count; i++)
		if (strlen(rooms[i].name) == n && memcmp(rooms[i].name, name, n) == 0)
			return &rooms[i];
	if (n > NAME || room_count == MAX_ROOMS) {
		fprintf(stderr, "limit: too many rooms\n");
		exit(1);
	}
	memcpy(rooms[room_count].name, name, n);
	return &rooms[room_count++];
}

/* send_all waits where the socket is full: a reader that stalls is not what is measured here. */
static int send_all(int fd, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t m = send(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (m < 0 && errno == EAGAIN) {
			struct pollfd wait = { .fd = fd, .events = POLLOUT };
			poll(&wait, 1, 1000);
			continue;
		}
		if (m < 0 && errno != EINTR)
			return -1;
		if (m > 0) {
			p += m;
			n -= m;
		}
	}
	return 0;
}

/* frame writes one envelope in the wire form of a kind; at is the cursor of an SSE event. */
static size_t frame(char *out, enum kind kind, const char *event, const char *at, const char *json, size_t n)
{
	unsigned char *b = (unsigned char *)out;
	char body[1024];
	int m;
	if (kind == WS) {
		size_t h = 2;
		b[0] = 0x81;
		if (n < 126) {
			b[1] = n;
		} else {
			b[1] = 126;
			b[2] = n >> 8;
			b[3] = n;
			h = 4;
		}
		memcpy(out + h, json, n);
		return h + n;
	}
	if (kind == SSE) {
		m = snprintf(body, sizeof body, "%sid: %s\ndata: ", event, at);
		size_t h = sprintf(out, "%zx\r\n%s", m + n + 2, body);
		memcpy(out + h, json, n);
		memcpy(out + h + n, "\n\n\r\n", 4);
		return h + n + 4;
	}
	size_t h = sprintf(out, "%zx\r\n", n + 1);
	memcpy(out + h, json, n);
	memcpy(out + h + n, "\n\r\n", 3);
	return h + n + 3;
}

static void cursor(char *out, size_t size, struct room *r)
{
	if (r->offset == 0)
		snprintf(out, size, "%s=0", r->name);
	else
		snprintf(out, size, "%s=%s.%lu.q7f2ak31x0", r->name, epoch, r->offset);
}

static void subscribe(int fd, struct conn *c, const char *path, size_t n)
{
	static const struct {
		const char *suffix, *type;
		enum kind kind;
	} kinds[] = { { "/ws", "", WS }, { "/sse", "text/event-stream", SSE }, { "/stream", "application/x-ndjson", NDJSON } };
	char out[2048], json[1024], at[512];
	for (int i = 0; i < 3; i++) {
		size_t s = strlen(kinds[i].suffix);
		if (n <= s || memcmp(path + n - s, kinds[i].suffix, s) != 0)
			continue;
		struct room *r = c->room = find_room(path, n - s);
		enum kind k = c->kind = kinds[i].kind;
		if (r->n[k] == r->space[k]) {
			r->space[k] = r->space[k] ? 2 * r->space[k] : 1024;
			r->fds[k] = realloc(r->fds[k], r->space[k] * sizeof(int));
		}
		r->fds[k][r->n[k]++] = fd;
		cursor(at, sizeof at, r);
		int m = snprintf(json, sizeof json, "{\"type\":\"hello\",\"protocol\":1,\"cursor\":\"%s\",\"heartbeat\":15}", at);
		int h = k == WS ? sprintf(out, "%s", head_ws) : sprintf(out, head_stream, kinds[i].type);
		send_all(fd, out, h + frame(out + h, k, "event: hello\n", at, json, m));
		return;
	}
	fprintf(stderr, "limit: no such transport: %.*s\n", (int)n, path);
	exit(1);
}

static void publish(int fd, const char *name, size_t n, const char *data, size_t size)
{
	static char json[MAX_REQUEST + 1024], out[MAX_REQUEST + 4096];
	char at[512];
	struct room *r = find_room(name, n);
	r->offset++;
	r->messages++;
	cursor(at, sizeof at, r);
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	int m = snprintf(json, sizeof json,
			 "{\"type\":\"message\",\"room\":\"%s\",\"offset\":%lu,\"epoch\":\"%s\",\"id\":\"q7f2ak31x0\",\"time\":%lld,\"data\":%.*s}",
			 r->name, r->offset, epoch, (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000, (int)size, data);
	for (enum kind k = WS; k < KINDS; k++) {
		struct buffer *b = &r->pending[k];
		if (r->n[k] == 0)
			continue;
		size_t f = frame(out, k, "", at, json, m);
		if (b->bytes == NULL)
			b->bytes = malloc(MAX_PENDING);
		if (b->n + f > MAX_PENDING)
			continue;
		memcpy(b->bytes + b->n, out, f);
		b->n += f;
	}
	m = snprintf(json, sizeof json, "{\"room\":\"%s\",\"offset\":%lu,\"epoch\":\"%s\",\"id\":\"q7f2ak31x0\",\"cursor\":\"%s\",\"duplicate\":false}",
		     r->name, r->offset, epoch, at);
	int h = sprintf(out, "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", m, json);
	send_all(fd, out, h);
}

static void deliver(struct room *r)
{
	for (enum kind k = WS; k < KINDS; k++) {
		struct buffer *b = &r->pending[k];
		if (b->n == 0)
			continue;
		for (int i = 0; i < r->n[k]; i++) {
			send_all(r->fds[k][i], b->bytes, b->n);
			deliveries += r->messages;
		}
		b->n = 0;
	}
	r->messages = 0;
}

/* request takes one request from the beginning of p and returns its length, 0 where it is not complete. */
static size_t request(int fd, struct conn *c, char *p, size_t n)
{
	char *end = memmem(p, n, "\r\n\r\n", 4);
	if (end == NULL)
		return 0;
	size_t head = end + 4 - p, body = 0;
	*end = 0;
	char *length = strcasestr(p, "\r\nContent-Length:");
	if (length != NULL)
		body = strtoul(length + 17, NULL, 10);
	*end = '\r';
	if (n < head + body)
		return 0;
	char *path = memmem(p, head, "/rooms/", 7);
	if (path == NULL) {
		fprintf(stderr, "limit: not a request of the bench: %.60s\n", p);
		exit(1);
	}
	path += 7;
	size_t m = strcspn(path, " ?");
	if (p[0] == 'P') {
		publish(fd, path, m, p + head, body);
		if (together == 1) /* one send per message, whatever else has come */
			deliver(find_room(path, m));
	} else {
		subscribe(fd, c, path, m);
	}
	return head + body;
}

static void gone(int fd, struct conn *c)
{
	if (c->room != NULL) {
		int *fds = c->room->fds[c->kind];
		int *n = &c->room->n[c->kind];
		for (int i = 0; i < *n; i++)
			if (fds[i] == fd) {
				fds[i] = fds[--*n];
				break;
			}
	}
	free(c->in);
	memset(c, 0, sizeof *c);
	close(fd);
}

static void readable(int fd)
{
	static char buf[MAX_REQUEST + 1];
	struct conn *c = &conns[fd];
	memcpy(buf, c->in, c->n);
	ssize_t n = recv(fd, buf + c->n, MAX_REQUEST - c->n, MSG_DONTWAIT);
	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			gone(fd, c);
		return;
	}
	if (c->kind != NEW)
		return; /* a subscriber's pong */
	size_t have = c->n + n, at = 0, used;
	buf[have] = 0;
	while (at < have && (used = request(fd, c, buf + at, have - at)) > 0)
		at += used;
	free(c->in);
	c->in = NULL;
	c->n = have - at;
	if (c->n > 0) {
		c->in = malloc(c->n);
		memcpy(c->in, buf + at, c->n);
	}
}

int main(int argc, char **argv)
{
	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: limit PORT [K]\n");
		return 2;
	}
	if (argc == 3)
		together = atoi(argv[2]);
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	conns = calloc(MAX_FD, sizeof *conns);
	struct sigaction act = { .sa_handler = on_term };
	sigaction(SIGTERM, &act, NULL);

	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (struct sockaddr *)&addr, sizeof addr) < 0 || listen(listener, 4096) < 0)
		die("limit: listening");
	int ep = epoll_create1(0);
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = listener };
	epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);

	struct epoll_event events[512];
	long long since = 0; /* when the first of the waiting messages came */
	while (!over) {
		int n = epoll_wait(ep, events, 512, since ? 1 : -1);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			if (fd != listener) {
				readable(fd);
				continue;
			}
			while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
				if (fd >= MAX_FD) {
					close(fd);
					continue;
				}
				setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
				ev.data.fd = fd;
				epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
			}
		}
		if (together == 1)
			continue;
		int waiting = 0;
		for (int i = 0; i < room_count; i++) {
			struct room *r = &rooms[i];
			if (r->messages >= together || (r->messages > 0 && since && micros() - since >= 2000))
				deliver(r);
			waiting += r->messages;
		}
		since = waiting == 0 ? 0 : since ? since : micros();
	}
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	double cpu = u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
	fprintf(stderr, "limit: %lu deliveries, %.2f us each\n", deliveries, deliveries ? cpu * 1e6 / deliveries : 0);
	return 0;
}
