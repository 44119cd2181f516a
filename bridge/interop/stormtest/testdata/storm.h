/* The programs of a storm: see ../doc.go. One static binary is all of them.
 *
 *	storm program NUMBER SEED STEPS FLAGS PATH...   makes random calls on ports
 *	storm direct                                    starts the programs that standard input lists, and reaps them
 *	storm strangers                                 has terminals of its own, which no other program may touch
 *
 * All of them write to one journal, descriptor JOURNAL, which was opened with O_APPEND: a line before and after each call,
 * each by one write. So the journal shows what a killed program was doing. */

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

/* note writes a line of the journal: KIND TIME PID TID NUMBER, and the formatted text. */
void note(char kind, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* begin and end record a call on an open; end returns the call's result and keeps errno. */
void begin(unsigned open, const char *call, const char *format, ...) __attribute__((format(printf, 3, 4)));
long end(unsigned open, const char *call, long returned);

uint64_t now(void); /* nanoseconds, CLOCK_MONOTONIC */
void nap(long us);
unsigned draw(unsigned below); /* a random number of this thread, below the limit */
void sow(uint64_t seed);

extern unsigned number; /* of this program */
extern int slow;

/* alarm_in interrupts a blocking call, after us and then every 20 ms; 0 stops it. alarm_storm sends a signal every 1.5 ms. */
void alarm_in(long us, int restart);
void alarm_storm(int on, int restart);

/* record.c */
struct hold {         /* a descriptor of a port */
	int fd;       /* -1: none */
	unsigned open; /* the open that it came from */
	unsigned seq;
	char ahead[64]; /* read, and not a whole echo yet */
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
