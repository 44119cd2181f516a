/* The director starts programs and reaps them, also those that were orphaned. Each line of its standard input,
 *
 *	ID\tPROGRAM\tARGUMENT...
 *
 * starts one; it prints
 *
 *	started ID PID
 *	ended PID STATUS
 *
 * and ends when its standard input has ended and no program is left. Under `run` telnetcpc starts it. */

#include "storm.h"

static void start(char *line)
{
	char *argv[80], *save = NULL, *id = strtok_r(line, "\t", &save);
	int n = 0;
	while (n < 79 && (argv[n] = strtok_r(NULL, "\t", &save)) != NULL)
		n++;
	argv[n] = NULL;
	if (id == NULL || n == 0)
		return;
	pid_t pid = fork();
	if (pid == 0) {
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		setpgid(0, 0); /* so that its children are killed with it */
		int null = open("/dev/null", O_RDWR);
		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		close(null);
		execvp(argv[0], argv);
		_exit(127);
	}
	printf("started %s %d\n", id, pid);
}

/* reap reaps all that have ended, and reports whether programs are left. */
static int reap(void)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		printf("ended %d %d\n", pid, status);
	return pid == 0;
}

static void child(int signal) { (void)signal; }

int direct(void)
{
	static char text[1 << 16];
	size_t have = 0;
	sigset_t blocked, before;
	struct sigaction a = {.sa_handler = child};
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	prctl(PR_SET_NAME, "storm-direct");
	setvbuf(stdout, NULL, _IOLBF, 4096);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	sigaction(SIGCHLD, &a, NULL);
	printf("ready %d 0\n", getpid());
	for (int input = 1;;) {
		struct pollfd p = {0, POLLIN, 0};
		int ready = ppoll(&p, input, NULL, &before);
		int left = reap();
		if (!input && !left)
			return 0;
		if (ready <= 0)
			continue;
		ssize_t n = read(0, text + have, sizeof text - have - 1);
		if (n <= 0) {
			input = 0;
			if (!reap())
				return 0;
			continue;
		}
		have += n;
		text[have] = 0;
		char *line = text, *stop;
		while ((stop = strchr(line, '\n')) != NULL) {
			*stop = 0;
			start(line);
			line = stop + 1;
		}
		have -= line - text;
		memmove(text, line, have);
	}
}
