/* With functions_b.c and functions_c.c: one kernel's functions, and why BTF has them or not. */
struct __attribute__((packed)) packed {
	char tag;
	int number;
};

struct padded {
	char tag;
	int number;
};

typedef struct packed packed_t;

extern void use(const void *);
extern void fail(const char *) __attribute__((cold));

#define NOINLINE __attribute__((noinline))

/* The same in both files, but at two addresses. */
static NOINLINE int twice(int value) { use(&value); return value; }
/* Different in the two files. */
static NOINLINE int differs(int value) { use(&value); return value; }

/* Header functions, inlined here; functions_b.c has the code of one. */
static inline __attribute__((always_inline)) int header(const int value) { return value * 3; }
static inline __attribute__((always_inline)) int header_differs(long value) { return value * 5; }

/* A parameter that callers no longer pass. */
static NOINLINE int constant(int value, int always) { use(&value); return value + always; }
/* The same, with code in two places, so that its address is the first of a list of ranges. */
static NOINLINE int constant_split(int value, int always)
{
	if (value < 0) {
		fail("negative");
		use(&value);
	}
	use(0);
	return value * always;
}
/* The first parameter is gone, so that the second one takes its register. */
static NOINLINE int shifted(int unused, int value) { use(&value); return value + 1; }
/* gcc tells of the constant once more, behind the ellipsis. */
static NOINLINE int variadic(int value, const char *always, ...)
{
	__builtin_va_list list;
	__builtin_va_start(list, always);
	value += __builtin_va_arg(list, int);
	use(always);
	__builtin_va_end(list);
	return value;
}

/* Nothing of these changes. */
int whole(int value, int unused, struct padded *pointer) { use(pointer); return value; }
int split(int value)
{
	if (value < 0) {
		fail("negative");
		use(&value);
	}
	use(0);
	return value;
}
int open_list(const char *format, ...) { use(format); return 0; }
/* Only a part of it is another symbol. */
static NOINLINE int parts(int value)
{
	if (value < 0) {
		fail("negative");
		use(&value);
	}
	use(0);
	return value + 7;
}

int on_stack(int a, int b, int c, int d, int e, int f, struct packed last) { return last.number + a; }
int on_stack_by_name(int a, int b, int c, int d, int e, int f, packed_t last) { return last.number + a; }
int on_stack_padded(int a, int b, int c, int d, int e, int f, struct padded last) { return last.number + a; }
int in_register(struct packed first) { return first.number; }

/* functions_c.c has weak ones of these, with other names. The second one is the same as one above, whose code it gets. */
int overridden(int real_name)
{
	if (real_name < 0) {
		fail("negative");
		use(&real_name);
	}
	use(0);
	return real_name * 11;
}
int folded(int real_name)
{
	if (real_name < 0) {
		fail("negative");
		use(&real_name);
	}
	use(0);
	return real_name;
}

int functions_a(int value)
{
	return twice(value) + differs(value) + header(value) + header_differs(value) + constant(value, 4) +
	       constant_split(value, 9) + shifted(1, value) + variadic(value, "always", 1) +
	       parts(value) + variadic(value + 1, "always", 2) + shifted(2, value + 2) + constant(value + 3, 4);
}
