/* A wall clock that can be stepped for one process: loaded before the C library (LD_PRELOAD), it adds the nanoseconds that stand
 * in the file named by BOSINGAK_CHAOS_CLOCK to CLOCK_REALTIME. Other clocks are left as they are. It calls nothing that
 * allocates, so that an allocator may ask for the time before anything else runs; that is where libfaketime gives up. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset_ns;

__attribute__((constructor)) static void map_offset(void) {
    const char *name = getenv("BOSINGAK_CHAOS_CLOCK");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) offset_ns = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result != 0 || clock != CLOCK_REALTIME || !offset_ns) return result;
    int64_t ns = now->tv_nsec + *offset_ns % 1000000000;
    now->tv_sec += *offset_ns / 1000000000;
    if (ns < 0) { ns += 1000000000; now->tv_sec -= 1; }
    if (ns >= 1000000000) { ns -= 1000000000; now->tv_sec += 1; }
    now->tv_nsec = ns;
    return 0;
}
