/* See functions_a.c. */
extern void use(const void *);

#define NOINLINE __attribute__((noinline))

static NOINLINE int twice(int value) { use(&value); return value; }
static NOINLINE int differs(const char *value) { use(value); return 0; }

static inline int header(int value) { return value * 3; }
static inline int header_differs(char *value) { return *value; }

void *keep[] = { header, header_differs };

int functions_b(int value) { return twice(value) + differs("x"); }
