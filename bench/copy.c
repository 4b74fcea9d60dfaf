/*
 * The C side of copy.bench.ts: memcpy of 4 KiB pages, or of everything at once. Reads lines
 * "<pages> <seq|rand|whole>", and answers with the nanoseconds that one pass took.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { PAGE = 4096 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_OPTION, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

static uint32_t state = 1;

static uint32_t below(uint32_t limit) {
  state = state * 1664525 + 1013904223;
  return (uint32_t)(((uint64_t)state * limit) >> 32);
}

static void shuffled(uint32_t *list, size_t n, int random) {
  for (size_t i = 0; i < n; i++) list[i] = i;
  for (size_t i = n - 1; random && i > 0; i--) {
    size_t j = below(i + 1);
    uint32_t value = list[i];
    list[i] = list[j];
    list[j] = value;
  }
}

int main(void) {
  size_t pages = 0, want;
  char how[8];
  char *from = NULL, *to = NULL;
  uint32_t *source = NULL, *target = NULL;
  int random = -1;
  while (scanf("%zu %7s", &want, how) == 2) {
    if (want != pages) {
      if (pages) munmap(from, 2 * pages * PAGE);
      pages = want;
      from = mmap(NULL, 2 * pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (from == MAP_FAILED) return 1;
      to = from + pages * PAGE;
      memset(from, 0x5a, 2 * pages * PAGE);
      source = realloc(source, pages * sizeof *source);
      target = realloc(target, pages * sizeof *target);
      random = -1;
    }
    if (random != (how[0] == 'r')) {
      random = how[0] == 'r';
      shuffled(source, pages, random);
      shuffled(target, pages, random);
    }
    double start = now();
    if (how[0] == 'w') memcpy(to, from, pages * PAGE);
    else for (size_t i = 0; i < pages; i++) {
      memcpy(to + (size_t)target[i] * PAGE, from + (size_t)source[i] * PAGE, PAGE);
    }
    printf("%.0f\n", now() - start);
    fflush(stdout);
  }
  return 0;
}
