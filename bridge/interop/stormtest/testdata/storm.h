/* The programs of a storm: see ../doc.go. One static binary plays all of them.
 *
 *	storm program NUMBER SEED STEPS FLAGS PATH...   does things to ports, at random
 *	storm direct                                    starts and reaps programs, as its standard input says
 *	storm strangers                                 has terminals of its own, which nobody else may touch
 *
 * All of them write to one journal, JOURNAL, a file that was opened with O_APPEND: a line before a call and one after it,
 * each by one write, so that a program that is killed leaves what it had begun. */

#define _GNU_SOURCE
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOURNAL 100

/* A line of the journal: MARK TIME PID TID NUMBER, and what the format says. */
void note(char mark, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* begin and end note a call of the open named; end returns what the call has returned, and keeps errno. */
void begin(unsigned open, const char *call, const char *format, ...) __attribute__((format(printf, 3, 4)));
long end(unsigned open, const char *call, long returned);

uint64_t now(void); /* nanoseconds, CLOCK_MONOTONIC */
void nap(long us);
unsigned draw(unsigned below); /* of this thread's own random numbers */
void sow(uint64_t seed);

extern unsigned number; /* of this program */
extern int slow;

/* alarm_in interrupts a call that is meant to wait, after so long and then every 20 ms; 0: no more. alarm_storm has
 * signals come all the time. */
void alarm_in(long us, int restart);
void alarm_storm(int on, int restart);

/* record.c */
struct hold {         /* a descriptor of a port */
	int fd;       /* -1: none */
	unsigned open; /* the visit it belongs to */
	unsigned seq;
	char ahead[64]; /* what was read and is no whole echo yet */
	int have;
};
void write_record(struct hold *h, unsigned payload);
void read_echoes(struct hold *h, int wait_ms);

/* call.c */
void set_coding(struct hold *h);
void set_lines(struct hold *h);
void other_call(struct hold *h);
void churn(struct hold *h, int purges);
void wait_for_line(struct hold *h);

int program(int argc, char **argv);
int direct(void);
int strangers(void);
