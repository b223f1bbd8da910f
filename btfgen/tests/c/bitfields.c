/* Types of one name and size with bitfields. Each VARIANT but 1 differs from 0 in one thing. */
enum color { RED, GREEN, BLUE = 200 };

#if VARIANT == 3
typedef enum color third;
#else
typedef unsigned int third;
#endif

struct flags {
	unsigned int first : 3;
#if VARIANT == 2
	unsigned int second : 6;
#else
	unsigned int second : 5;
#endif
	third third : 9;
#if VARIANT == 4
	unsigned int renamed : 1;
#else
	unsigned int fourth : 1;
#endif
	char *plain;
#if VARIANT == 5
	long long gap : 40;
	long long wide : 24;
#else
	long long wide : 40;
	long long : 24;
#endif
	struct flags *next;
	union {
		signed char low : 4;
		int all;
	} either;
	short last[4];
} flags;
