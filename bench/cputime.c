/* SPDX-License-Identifier: Apache-2.0
 * Copyright the Sengi authors */
#include "bench/cputime.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

int cputime_of_process(pid_t pid, struct cputime *out)
{
    char name[64], line[1024];
    snprintf(name, sizeof name, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(name, "re");
    if (!f)
        return -1;
    size_t n = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    line[n] = 0;
    /* The command name may hold anything, blanks and brackets too: fields count from the last ')'.
     */
    const char *rest = strrchr(line, ')');
    unsigned long long user, system;
    if (!rest
        || sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user,
                  &system)
               != 2)
        return -1;
    double tick_s = 1.0 / (double)sysconf(_SC_CLK_TCK);
    *out = (struct cputime){(double)user * tick_s, (double)system * tick_s};
    return 0;
}

struct cputime cputime_of_self(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (struct cputime){(double)r.ru_utime.tv_sec + (double)r.ru_utime.tv_usec / 1e6,
                            (double)r.ru_stime.tv_sec + (double)r.ru_stime.tv_usec / 1e6};
}

struct machine_time cputime_of_machine(void)
{
    struct machine_time t = {0, 0};
    FILE *f = fopen("/proc/stat", "re");
    if (!f)
        return t;
    unsigned long long user, nice, system, irq, softirq, steal;
    if (fscanf(f, "cpu %llu %llu %llu %*u %*u %llu %llu %llu", &user, &nice, &system, &irq,
               &softirq, &steal)
        == 6) {
        double tick_s = 1.0 / (double)sysconf(_SC_CLK_TCK);
        t.busy_s = (double)(user + nice + system + irq + softirq) * tick_s;
        t.steal_s = (double)steal * tick_s;
    }
    fclose(f);
    return t;
}

uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
