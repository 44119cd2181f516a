/* The paths that lead a program to its serial port, for the tests of this package: paths PATH DIR CHECK. DIR is a directory
 * that it may write to. It prints "ok", or what is wrong, and fails. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "want.h"

#define FAILS(what, number) WANT((errno = 0, (what) == -1) && errno == (number))

static const char *as, *dir;
static dev_t rdev;

static const char *in(const char *base)
{
	static __thread char text[4][512];
	static __thread int n;
	n = (n + 1) % 4;
	snprintf(text[n], sizeof text[n], "%s/%s", dir, base);
	return text[n];
}

/* port: a descriptor is the port's, which has modem lines, unlike a pty. */
#define port(fd) port_at(__LINE__, fd)
#define opens(path) opens_at(__LINE__, path)
static int port_at(int line, int fd)
{
	struct stat st;
	int bits;
	if (fd < 0)
		printf("at line %d: ", line);
	WANT(fd >= 0);
	WANT(fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == rdev);
	WANT(ioctl(fd, TIOCMGET, &bits) == 0);
	return fd;
}

static void opens_at(int line, const char *path)
{
	struct stat st;
	if (stat(path, &st) != 0)
		printf("at line %d: ", line);
	WANT(stat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == rdev);
	WANT(access(path, R_OK | W_OK) == 0);
	WANT(close(port_at(line, open(path, O_RDWR | O_NOCTTY))) == 0);
}

static int open2(int at, const char *path, unsigned long long flags, unsigned long long resolve)
{
	struct open_how how = {.flags = flags, .resolve = resolve};
	return syscall(SYS_openat2, at, path, &how, sizeof how);
}

static void links(const char *target)
{
	const char *base = strrchr(target, '/') + 1;
	char parent[512], text[512];
	struct stat st;
	int at, fd;
	snprintf(parent, sizeof parent, "%.*s", (int)(base - target - 1), target);

	WANT(symlink(target, in("modem")) == 0);
	opens(in("modem"));
	WANT(symlink("modem", in("first")) == 0 && symlink("./sub/../first", in("second")) == 0 && mkdir(in("sub"), 0755) == 0);
	opens(in("second"));
	opens(in("sub/../second"));
	opens(in("sub/.././/second"));
	WANT(symlink(parent, in("directory")) == 0);
	snprintf(text, sizeof text, "directory/%s", base);
	opens(in(text));
	WANT(symlink(text, in("below")) == 0);
	opens(in("below"));
	WANT(lstat(in("modem"), &st) == 0 && S_ISLNK(st.st_mode));
	WANT(readlink(in("modem"), text, sizeof text) == (ssize_t)strlen(target));
	FAILS(open(in("modem"), O_RDWR | O_NOFOLLOW), ELOOP);
	FAILS(open(in("modem"), O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
	FAILS(open(in("modem/"), O_RDWR), ENOTDIR);
	WANT(open(in("modem/x"), O_RDWR) == -1 && (errno == ENOTDIR || errno == ENOENT)); /* depends on the machine having such a device */
	WANT(symlink("loop", in("loop")) == 0);
	FAILS(open(in("loop"), O_RDWR), ELOOP);

	WANT((at = open(dir, O_PATH | O_DIRECTORY)) >= 0);
	WANT(close(port(openat(at, "modem", O_RDWR))) == 0);
	WANT(close(port(openat(at, "sub/../second", O_RDWR))) == 0);
	WANT(fstatat(at, "modem", &st, 0) == 0 && st.st_rdev == rdev);
	WANT(fstatat(at, "modem", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode));
	WANT(close(port(open2(at, "modem", O_RDWR, 0))) == 0);
	FAILS(open2(at, "modem", O_RDWR, RESOLVE_NO_SYMLINKS), ELOOP);
	FAILS(open2(at, "modem", O_RDWR, RESOLVE_BENEATH), EXDEV);
	WANT(chdir(dir) == 0);
	opens("modem");
	opens("./modem");
	opens("sub/../first");
	opens("/proc/self/cwd/modem");
	opens("/proc/thread-self/cwd/sub/../modem");
	snprintf(text, sizeof text, "/proc/self/root%s", target);
	opens(text);
	snprintf(text, sizeof text, "/proc/self/task/%d/cwd/modem", getpid());
	opens(text);
	snprintf(text, sizeof text, "/proc/%d/fd/%d/second", getpid(), at);
	opens(text);

	/* What does not lead to the port is left alone. */
	WANT((fd = open(in("file"), O_RDWR | O_CREAT | O_EXCL, 0600)) >= 0 && write(fd, "x", 1) == 1 && close(fd) == 0);
	WANT(symlink("file", in("elsewhere")) == 0 && stat(in("elsewhere"), &st) == 0 && st.st_size == 1);
	WANT((fd = open(in("elsewhere"), O_RDWR)) >= 0 && close(fd) == 0);
	WANT(symlink("nothing", in("dangling")) == 0);
	FAILS(open(in("dangling"), O_RDWR), ENOENT);
	WANT((fd = open(in("dangling"), O_RDWR | O_CREAT, 0600)) >= 0 && close(fd) == 0 && access(in("nothing"), F_OK) == 0);
}

static void links_as(void) { links(as); }
static void links_own(void) { links(getenv("TELNETCPC_PORT")); }

static void *reopens(void *number)
{
	char text[64];
	snprintf(text, sizeof text, "/proc/thread-self/fd/%d", *(int *)number);
	opens(text);
	return NULL;
}

/* descriptors: the magic links of /proc lead to the program's own files, not to telnetcpc's. */
static void descriptors(void)
{
	char text[64];
	struct stat st;
	pthread_t t;
	int fd = port(open(as, O_RDWR | O_NOCTTY)), high = fcntl(fd, F_DUPFD, 777), other;
	WANT(high == 777);
	snprintf(text, sizeof text, "/proc/self/fd/%d", fd);
	opens(text);
	opens("/proc/self/fd/777");
	opens("/dev/fd/777");
	snprintf(text, sizeof text, "/proc/%d/fd/777", getpid());
	opens(text);
	WANT(symlink("/proc/self/fd", in("fd")) == 0);
	opens(in("fd/777"));
	WANT(dup2(fd, 0) == 0);
	opens("/dev/stdin");
	WANT(pthread_create(&t, NULL, reopens, &high) == 0 && pthread_join(t, NULL) == 0);
	WANT((other = open("/dev/null", O_RDWR)) >= 0 && dup2(other, 778) == 778);
	WANT((other = open("/proc/self/fd/778", O_RDWR)) >= 0 && fstat(other, &st) == 0 && st.st_rdev == makedev(1, 3));
	FAILS(open("/proc/self/fd/779", O_RDWR), ENOENT);
}

/* lowers: DTR and RTS that a program lowers stay low, whichever path it has used. */
static void lowers(int fd)
{
	int bits = TIOCM_DTR | TIOCM_RTS, i;
	WANT(ioctl(fd, TIOCMGET, &bits) == 0 && (bits & (TIOCM_DTR | TIOCM_RTS)) == (TIOCM_DTR | TIOCM_RTS));
	WANT(ioctl(fd, TIOCMBIC, &bits) == 0);
	for (i = 0; i < 20; i++) {
		WANT(ioctl(fd, TIOCMGET, &bits) == 0 && (bits & (TIOCM_DTR | TIOCM_RTS)) == 0);
		usleep(1000);
	}
	WANT(close(fd) == 0);
}

static void late(void)
{
	const char *own = getenv("TELNETCPC_PORT");
	int i;
	WANT(symlink(own, in("link")) == 0 && symlink(in("link"), in("again")) == 0);
	for (i = 0; i < 20; i++)
		lowers(open(in(i % 2 ? "link" : "again"), O_RDWR | O_NOCTTY));
}

/* received: a descriptor received from a program that telnetcpc did not start, through the socket TELNETCPC_TEST_SOCKET. */
static void received(void)
{
	char byte, room[CMSG_SPACE(sizeof(int))];
	struct iovec v = {&byte, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
	int s = atoi(getenv("TELNETCPC_TEST_SOCKET")), fd, i;
	for (i = 0; i < 20; i++) {
		WANT(write(s, "g", 1) == 1);
		m.msg_controllen = sizeof room;
		WANT(recvmsg(s, &m, 0) == 1 && m.msg_controllen > 0);
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
		lowers(fd);
	}
}

/* user makes a user namespace in which this program has all capabilities, and other namespaces. */
static void tell(const char *file, const char *format, int id)
{
	char text[64];
	int fd = open(file, O_WRONLY), n = snprintf(text, sizeof text, format, id);
	WANT(fd >= 0 && write(fd, text, n) == n && close(fd) == 0);
}

static void user(int others)
{
	int uid = geteuid(), gid = getegid();
	WANT(unshare(CLONE_NEWUSER | others) == 0);
	tell("/proc/self/setgroups", "deny", 0);
	tell("/proc/self/uid_map", "0 %d 1", uid);
	tell("/proc/self/gid_map", "0 %d 1", gid);
}

/* below returns a path in another root, and makes its directories. */
static const char *below(const char *root, const char *path)
{
	static char text[512];
	char *slash;
	snprintf(text, sizeof text, "%s%s", root, path);
	for (slash = text + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
		*slash = 0;
		WANT(mkdir(text, 0755) == 0 || errno == EEXIST);
	}
	return text;
}

/* chroots: in another root the port is where its paths lead there; a file of that root is not the port. */
static void chroots(void)
{
	const char *base = strrchr(as, '/') + 1, *own = getenv("TELNETCPC_PORT");
	char parent[512];
	struct stat st;
	int at;
	WANT(mkdir(in("root"), 0755) == 0 && mkdir(in("root/etc"), 0755) == 0);
	snprintf(parent, sizeof parent, "%s", below(in("root"), as));
	*strrchr(parent, '/') = 0;
	WANT((at = open(below(in("root"), own), O_WRONLY | O_CREAT, 0600)) >= 0 && close(at) == 0);
	WANT(symlink(as, in("root/etc/modem")) == 0);
	user(0);
	WANT((at = open(in("root/etc"), O_PATH)) >= 0);
	WANT(chroot(in("root")) == 0 && chdir(parent + strlen(in("root"))) == 0);
	WANT(stat(as, &st) == 0 && st.st_rdev == rdev);
	WANT(close(port(open(as, O_RDWR))) == 0);
	WANT(close(port(open(base, O_RDWR))) == 0);
	WANT(close(port(open("../../../etc/modem", O_RDWR))) == 0);
	WANT(close(port(open("/etc/modem", O_RDWR))) == 0);
	WANT(close(port(openat(at, "modem", O_RDWR))) == 0);
	WANT(close(port(open("../../../../../etc/modem", O_RDWR))) == 0);
	WANT((at = open(own, O_RDWR)) >= 0 && fstat(at, &st) == 0 && S_ISREG(st.st_mode) && close(at) == 0);
	WANT(unlink(own) == 0);
	WANT(close(port(open(own, O_RDWR))) == 0); /* the port's own path works in there, too, if nothing else has that name */
}

/* mounts: another mount namespace, with other ptys. */
static void mounts(void)
{
	char text[128];
	const char *own = getenv("TELNETCPC_PORT");
	int fd = port(open(own, O_RDWR | O_NOCTTY)), other, master;
	WANT(ttyname_r(fd, text, sizeof text) == 0);
	WANT(symlink(as, in("modem")) == 0);
	user(CLONE_NEWNS);
	WANT(mount("none", dir, "tmpfs", 0, NULL) == 0);
	WANT(symlink(as, in("inside")) == 0 && symlink(own, in("own")) == 0);
	WANT(close(port(open(in("inside"), O_RDWR))) == 0);
	FAILS(open(in("modem"), O_RDWR), ENOENT);
	WANT(mount("none", "/dev/pts", "devpts", 0, "newinstance,ptmxmode=666") == 0);
	WANT(close(port(open(own, O_RDWR))) == 0);
	WANT(close(port(open(in("own"), O_RDWR))) == 0);
	if ((other = open(text, O_RDWR | O_NOCTTY)) < 0) {
		/* until one has the port's number */
		do {
			struct stat st;
			int no = 0, n;
			WANT((master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY)) >= 0);
			WANT(ioctl(master, TIOCSPTLCK, &no) == 0 && ioctl(master, TIOCGPTN, &n) == 0);
			(void)st;
		} while ((other = open(text, O_RDWR | O_NOCTTY)) < 0);
	}
	WANT(ioctl(other, TIOCMGET, &master) == -1 && errno == ENOTTY);
}

static volatile int over;

static void *swaps(void *unused)
{
	int i;
	(void)unused;
	for (i = 0; !over; i++) {
		WANT(symlink(i % 2 ? as : "/dev/null", in("next")) == 0);
		WANT(rename(in("next"), in("flip")) == 0);
	}
	return NULL;
}

static void *opens_flips(void *unused)
{
	int i, fd, bits;
	struct stat st;
	(void)unused;
	for (i = 0; i < 500; i++) {
		/* Between telnetcpc's lookup and the kernel's it may have changed to a target that does not exist. */
		WANT((fd = open(in("flip"), O_RDWR | O_NOCTTY)) >= 0 || errno == ENOENT);
		if (fd >= 0) {
			(void)ioctl(fd, TIOCMGET, &bits);
			WANT(close(fd) == 0);
		}
		WANT(stat(in("flip"), &st) == 0 || errno == ENOENT);
	}
	return NULL;
}

/* flips: a link that changes all the time leads to one target or the other, and every call returns. */
static void flips(void)
{
	pthread_t t[4];
	int i;
	WANT(symlink(as, in("flip")) == 0);
	for (i = 0; i < 4; i++)
		WANT(pthread_create(&t[i], NULL, i ? opens_flips : swaps, NULL) == 0);
	for (i = 1; i < 4; i++)
		WANT(pthread_join(t[i], NULL) == 0);
	over = 1;
	WANT(pthread_join(t[0], NULL) == 0);
}

static int fuse;

static void reply(unsigned long long unique, int error, const void *body, size_t size)
{
	char text[256];
	struct fuse_out_header h = {.len = sizeof h + size, .error = error, .unique = unique};
	memcpy(text, &h, sizeof h);
	memcpy(text + sizeof h, body, size);
	WANT(write(fuse, text, h.len) == (ssize_t)h.len);
}

/* serves: a file system in which every name is a link to the port. Before each reply it makes calls that telnetcpc must answer. */
static void *serves(void *unused)
{
	static char room[FUSE_MIN_READ_BUFFER];
	struct fuse_in_header *h = (struct fuse_in_header *)room;
	struct fuse_attr attr = {.ino = 2, .mode = S_IFLNK | 0777, .nlink = 1};
	(void)unused;
	while (read(fuse, room, sizeof room) > 0) {
		struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_write = 4096};
		struct fuse_entry_out entry = {.nodeid = 2, .attr = attr};
		struct fuse_attr_out out = {.attr = attr};
		struct stat st;
		int bits, fd;
		if (h->opcode != FUSE_INIT) {
			close(port(open(as, O_RDWR | O_NOCTTY)));
			WANT((fd = open("/dev/null", O_RDONLY)) >= 0 && ioctl(fd, TIOCMGET, &bits) == -1 && close(fd) == 0);
			WANT(stat(dir, &st) == 0);
		}
		switch (h->opcode) {
		case FUSE_INIT:
			reply(h->unique, 0, &init, sizeof init);
			break;
		case FUSE_LOOKUP:
			reply(h->unique, 0, &entry, sizeof entry);
			break;
		case FUSE_READLINK:
			reply(h->unique, 0, as, strlen(as));
			break;
		case FUSE_GETATTR:
			if (h->nodeid == 1)
				out.attr.ino = 1, out.attr.mode = S_IFDIR | 0777;
			reply(h->unique, 0, &out, sizeof out);
			break;
		default:
			if (h->opcode != FUSE_FORGET && h->opcode != FUSE_BATCH_FORGET)
				reply(h->unique, -ENOSYS, "", 0);
		}
	}
	return NULL;
}

/* served: a file system that a program of the tree serves makes nobody wait forever. */
static void served(void)
{
	char text[128];
	pthread_t t;
	struct stat st;
	WANT((fuse = open(getenv("TELNETCPC_TEST_FUSE"), O_RDWR)) >= 0 && mkdir(in("fs"), 0755) == 0);
	snprintf(text, sizeof text, "fd=%d,rootmode=40000,user_id=%d,group_id=%d", fuse, getuid(), getgid());
	WANT(mount("fuse", in("fs"), "fuse", MS_NOSUID | MS_NODEV, text) == 0);
	WANT(pthread_create(&t, NULL, serves, NULL) == 0);
	opens(in("fs/modem"));
	WANT(lstat(in("fs/other"), &st) == 0 && S_ISLNK(st.st_mode));
	WANT(symlink("fs/third", in("outside")) == 0);
	opens(in("outside"));
}

/* after: telnetcpc is killed when this prints "ready". No path leads to what was the port; everything else works as before. */
static void after(void)
{
	const char *own = getenv("TELNETCPC_PORT");
	struct stat st;
	char c, text[128];
	int fd = port(open(own, O_RDWR | O_NOCTTY)), at;
	pid_t child;
	char slave[64], name[64];
	int masters[100], n = 0, no = 0, number, made;
	WANT(ttyname_r(fd, slave, sizeof slave) == 0);
	WANT(symlink(as, in("modem")) == 0 && symlink(own, in("own")) == 0 && symlink(dir, in("here")) == 0);
	WANT((at = open(dir, O_PATH)) >= 0);
	printf("%s ready\n", slave);
	fflush(stdout);
	WANT(read(fd, &c, 1) <= 0);
	WANT(close(fd) == 0);
	WANT(read(0, &c, 1) == 0); /* the test has taken the number of the pty by now */
	(void)unlink(own);
	WANT((fd = open(own, O_RDWR | O_CREAT, 0600)) == -1 && errno == ENOENT);
	WANT(symlink(in("stranger"), own) == 0); /* the pty of that number is another's now */
	FAILS(open(own, O_RDWR), ENOENT);
	FAILS(open(in("own"), O_RDWR), ENOENT);
	WANT(lstat(own, &st) == 0 && S_ISLNK(st.st_mode));
	FAILS(open(as, O_RDWR), ENOENT);
	FAILS(open(as, O_RDWR | O_CREAT, 0600), ENOENT);
	FAILS(open(in("modem"), O_RDWR), ENOENT);
	FAILS(open(in("here/modem"), O_RDWR), ENOENT);
	FAILS(openat(at, "modem", O_RDWR), ENOENT);
	FAILS(open2(at, "modem", O_RDWR, 0), ENOENT);
	FAILS(stat(as, &st), ENOENT);
	FAILS(lstat(as, &st), ENOENT);
	FAILS(access(as, F_OK), ENOENT);
	FAILS(readlink(as, text, sizeof text), ENOENT);
	FAILS(stat(in("modem"), &st), ENOENT);
	WANT(lstat(in("modem"), &st) == 0);
	WANT((fd = open(in("stranger"), O_RDWR | O_CREAT, 0600)) >= 0 && close(fd) == 0);
	WANT((fd = open("/dev/null", O_RDWR)) >= 0 && close(fd) == 0);
	FAILS(open(slave, O_RDWR | O_NOCTTY), ENOENT);
	snprintf(text, sizeof text, "/proc/self/root%s", slave);
	FAILS(open(text, O_RDWR | O_NOCTTY), ENOENT);
	/* A pty of its own may have any number. */
	do {
		WANT(n < 100 && (masters[n] = posix_openpt(O_RDWR | O_NOCTTY)) >= 0);
		WANT(ioctl(masters[n], TIOCSPTLCK, &no) == 0 && ioctl(masters[n++], TIOCGPTN, &number) == 0);
		snprintf(name, sizeof name, "/dev/pts/%d", number);
		WANT((made = open(name, O_RDWR | O_NOCTTY)) >= 0 && close(made) == 0);
	} while (n < 5);
	WANT((child = fork()) >= 0);
	if (child == 0) {
		FAILS(open(as, O_RDWR), ENOENT);
		_exit(0);
	}
	WANT(waitpid(child, &at, 0) == child && at == 0);
}

/* pending: telnetcpc is killed while this waits for its open. */
static void pending(void)
{
	printf("ready\n");
	fflush(stdout);
	FAILS(open(as, O_RDWR), ENOENT);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*check)(void);
	} checks[] = {
		{"links", links_as}, {"own links", links_own}, {"descriptors", descriptors}, {"late", late}, {"received", received},
		{"flips", flips}, {"served", served}, {"chroots", chroots}, {"mounts", mounts}, {"after", after}, {"pending", pending},
	};
	struct stat st;
	size_t i;
	if (argc != 4)
		return 2;
	as = argv[1], dir = argv[2];
	if (stat(getenv("TELNETCPC_PORT"), &st) != 0)
		return 3;
	rdev = st.st_rdev;
	for (i = 0; i < sizeof checks / sizeof checks[0]; i++)
		if (strcmp(argv[3], checks[i].name) == 0) {
			checks[i].check();
			printf("ok\n");
			return 0;
		}
	return 2;
}
