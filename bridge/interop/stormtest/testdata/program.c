/* A program of the storm: it opens ports in every way there is, and makes random calls on them. */

#include "storm.h"

enum { holds_most = 4, opens_most = 250 };

static struct hold held[holds_most];
static char **paths;
static int path_count;
static unsigned opens, children;
static int flags;
enum { purges = 1, shy = 2, leads = 4, knocks = 8, is_slow = 16 };
/* FLAGS: it may purge; its records are short; it is a session leader; it only opens, writes and closes; it sets slow rates
 * and writes little. */
static char *self, *text_flags;

static void hold(struct hold *h, int fd, unsigned open)
{
	memset(h, 0, sizeof *h);
	h->fd = fd;
	h->open = open;
}

/* is_decoy reports whether a descriptor is the decoy: the terminal that the agent hides behind a path of the port. */
static int is_decoy(int fd)
{
	struct stat st;
	const char *decoy = getenv("STORM_DECOY");
	return decoy && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == strtoull(decoy, NULL, 10);
}

/* open_port opens a path, or a descriptor that is open already. */
static void open_port(struct hold *h)
{
	char text[64];
	const char *path = paths[draw(path_count)];
	struct hold *other = &held[draw(holds_most)];
	int how = O_RDWR | (draw(2) ? O_NOCTTY : 0) | (draw(3) == 0 ? O_NONBLOCK : 0) | (draw(2) ? O_CLOEXEC : 0);
	if (opens >= opens_most)
		return;
	if (other->fd >= 0 && draw(3) == 0) {
		snprintf(text, sizeof text, draw(2) ? "/proc/self/fd/%d" : "/dev/fd/%d", other->fd);
		path = text;
	}
	unsigned open_id = number << 8 | ++opens;
	begin(open_id, "open", "%x %s", how, path);
	int fd = end(open_id, "open", open(path, how));
	if (fd < 0)
		return;
	if (fd <= 2 || fd == JOURNAL) { /* these are open already: it is not a new descriptor, and must not be used */
		note('X', "descriptor open(%s) gave %d", path, fd);
		return;
	}
	struct stat st;
	int is_file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode); /* created by a shell while there was no port */
	if (is_file || is_decoy(fd)) {
		if (!is_file)
			note('X', "decoy %s", path);
		begin(open_id, "close", "%d", fd);
		end(open_id, "close", close(fd));
		return;
	}
	for (int i = 0; i < holds_most; i++)
		if (held[i].fd == fd)
			note('X', "descriptor open() gave %d, which was open already", fd);
	hold(h, fd, open_id);
	if (how & O_NONBLOCK && draw(2))
		fcntl(fd, F_SETFL, 0);
	if (!(how & O_NOCTTY) && flags & leads) {
		int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);
		if (tty >= 0) {
			note('L', "leads"); /* its end hangs up the terminal */
			close(tty);
		}
	}
}

static void close_port(struct hold *h)
{
	begin(h->open, "close", "%d", h->fd);
	end(h->open, "close", close(h->fd));
	h->fd = -1;
}

/* knock opens and closes often, and does little in between. */
static void knock(void)
{
	for (int i = 3 + draw(30); i > 0; i--) {
		struct hold h = {.fd = -1};
		open_port(&h);
		if (h.fd < 0)
			continue;
		if (draw(2))
			read_echoes(&h, draw(10));
		if (draw(3) == 0)
			write_record(&h, draw(20));
		close_port(&h);
	}
}

/* twin closes a descriptor while a duplicate keeps it open. */
static void twin(struct hold *h)
{
	begin(h->open, "dup", "%d", h->fd);
	int copy = end(h->open, "dup", dup(h->fd));
	if (copy < 0)
		return;
	begin(h->open, "twin", "%d", h->fd);
	end(h->open, "twin", close(h->fd));
	h->fd = copy;
}

static void step(void);

static unsigned payload(void)
{
	if (!(flags & shy) && draw(12) == 0)
		return draw(3000);
	return draw(60);
}

/* fork_with forks a child that goes on with the descriptor, as this program or by exec. */
static void fork_with(struct hold *h)
{
	int as_other = draw(2), waits = draw(2);
	if (children >= 15 || number & 15)
		return; /* children have no children, so that each has a number of its own */
	unsigned child_number = number | ++children;
	pid_t pid = fork();
	if (pid < 0)
		return;
	if (pid > 0) {
		if (waits)
			while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
				;
		return;
	}
	number = child_number;
	opens = 0;
	note('S', "child");
	for (int i = 0; i < holds_most; i++)
		if (held[i].fd >= 0) { /* the child has inherited them */
			unsigned id = number << 8 | ++opens;
			begin(id, "inherit", "%d", held[i].fd);
			end(id, "inherit", held[i].fd);
			hold(&held[i], held[i].fd, id);
		}
	sow(number * 77 + draw(1000));
	if (as_other) {
		char n[16], seed[16], steps[16], fd[32];
		snprintf(n, sizeof n, "%x", number);
		snprintf(seed, sizeof seed, "%u", draw(1 << 30));
		snprintf(steps, sizeof steps, "%u", 5 + draw(20));
		snprintf(fd, sizeof fd, "%d:%x", h->fd, h->open);
		char *argv[64] = {self, "program", n, seed, steps, text_flags, fd};
		for (int i = 0; i < path_count && i < 50; i++)
			argv[7 + i] = paths[i];
		fcntl(h->fd, F_SETFD, 0);
		execv(self, argv);
		_exit(3);
	}
	for (int i = 3 + draw(15); i > 0; i--)
		step();
	_exit(0);
}

static volatile int over;

static void *reads(void *of)
{
	struct hold *h = of;
	sow(number);
	while (!over)
		read_echoes(h, 20);
	return NULL;
}

/* threads: one reads while the other writes and changes settings. */
static void threads(struct hold *h)
{
	struct hold copy = *h;
	pthread_t t;
	over = 0;
	if (pthread_create(&t, NULL, reads, &copy) != 0)
		return;
	sigset_t rings, before; /* the alarm is for the reader */
	sigemptyset(&rings);
	sigaddset(&rings, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &rings, &before);
	for (int i = 5 + draw(20); i > 0; i--)
		switch (draw(4)) {
		case 0:
			set_lines(h);
			break;
		case 1:
			set_coding(h);
			break;
		default:
			write_record(h, draw(60));
		}
	over = 1;
	pthread_join(t, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void step(void)
{
	struct hold *h = &held[draw(holds_most)];
	if (h->fd < 0) {
		if (draw(2))
			open_port(h);
		return;
	}
	switch (draw(30)) {
	case 0:
	case 1:
	case 2:
		close_port(h);
		break;
	case 3:
		twin(h);
		break;
	case 4:
	case 5:
	case 6:
		set_coding(h);
		break;
	case 7:
	case 8:
		set_lines(h);
		break;
	case 9:
	case 10:
	case 11:
		other_call(h);
		break;
	case 12:
		fork_with(h);
		break;
	case 13:
		threads(h);
		break;
	case 15:
		knock();
		break;
	case 14:
		if (draw(4) == 0)
			churn(h, flags & purges);
		break;
	case 16:
	case 17:
	case 18:
	case 19:
		read_echoes(h, draw(50));
		break;
	default:
		write_record(h, payload());
	}
	nap((draw(8) == 0 ? draw(30000) : draw(2000)) * (slow ? 10 : 1));
}

int program(int argc, char **argv)
{
	self = argv[0];
	number = strtoul(argv[2], NULL, 16);
	sow(strtoull(argv[3], NULL, 10));
	int steps = atoi(argv[4]);
	flags = atoi(text_flags = argv[5]);
	slow = !!(flags & is_slow);
	note('S', "program");
	for (int i = 0; i < holds_most; i++)
		held[i].fd = -1;
	argv += 6;
	argc -= 6;
	int fd;
	unsigned of;
	if (argc > 0 && sscanf(argv[0], "%d:%x", &fd, &of) == 2) { /* inherited over exec; the journal has its open already */
		hold(&held[0], fd, of);
		held[0].seq = 1000; /* higher than any seq before the exec */
		opens = of & 255;
		argv++;
		argc--;
	} else if (flags & leads)
		setsid();
	paths = argv;
	path_count = argc;
	if (argc == 0)
		return 2;
	while (steps-- > 0)
		if (flags & knocks) {
			knock();
			nap(slow ? draw(500000) : 0);
		} else
			step();
	for (int i = 0; i < holds_most; i++)
		if (held[i].fd >= 0)
			close_port(&held[i]);
	note('F', "finished");
	return 0;
}
