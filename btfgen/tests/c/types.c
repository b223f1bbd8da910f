/* Every shape of type that C and DWARF have and BTF knows, in one unit. */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef _Bool bool_t;
typedef void nothing;
typedef int (*callback_t)(void *context, const char *format, ...);

enum small { SMALL_A, SMALL_B = 5, SMALL_C };
enum negative { NEGATIVE_A = -3, NEGATIVE_B = 0, NEGATIVE_C = 0x7fffffff };
enum top_bit { TOP_BIT = 0x80000000u };
enum wide { WIDE_A = 1, WIDE_B = 0x123456789abcdefull };
enum wide_negative { WIDE_NEGATIVE_A = -1, WIDE_NEGATIVE_B = 0x7fffffffffffffffll };
enum __attribute__((packed)) packed_enum { PACKED_A, PACKED_B = 200 };
enum declared_only;

struct declared_struct;
union declared_union;

struct bitfields {
    u32 a : 1;
    u32 b : 5;
    int c : 7;
    u64 d : 33;
    enum small e : 3;
    bool_t f : 1;
    u8 g : 4;
    u8 h : 4;
    u32 : 0;
    u32 i : 9;
};

struct __attribute__((packed)) packed_bitfields {
    u8 a;
    u32 b : 12;
    u32 c : 20;
    u64 d : 60;
    u8 e : 4;
};

struct nested {
    int before;
    struct {
        int x;
        union {
            long y;
            struct {
                char z[3];
                u8 w : 2;
            };
        };
    };
    union {
        float real;
        u32 raw;
    } number;
    struct named_inside {
        double d;
    } inside, *outside;
};

struct arrays {
    int one[4];
    char two[3][5];
    struct nested three[2][3][4];
    int none[0];
    char flexible[];
};

struct list {
    struct list *next, **prev;
};

struct tree;
struct forest {
    struct tree *first;
    struct list all;
};
struct tree {
    struct forest *owner;
    struct tree *left, *right;
    callback_t visit;
    int (*compare)(const struct tree *, const struct tree *);
    void (*no_arguments)(void);
    struct tree *(*returns)(struct declared_struct *, union declared_union *);
};


struct empty {};
struct holder {
    struct empty nothing;
    s8 c;
};

struct qualifiers {
    const int a;
    volatile int b;
    const volatile char *const *c;
    int *restrict d;
    const u8 e[4];
};

struct zero_width_last {
    u32 a : 31;
    u32 b : 1;
    u32 c : 32;
};

typedef struct {
    u32 lock;
} anonymous_t;
typedef enum { ANONYMOUS_ENUM_A, ANONYMOUS_ENUM_B } anonymous_enum_t;
typedef anonymous_t array_of_typedef_t[7];

enum small g_small;
enum negative g_negative;
enum top_bit g_top;
enum wide g_wide;
enum wide_negative g_wide_negative;
enum packed_enum g_packed;
struct bitfields g_bitfields;
struct packed_bitfields g_packed_bitfields;
struct nested g_nested;
struct arrays *g_arrays;
struct forest g_forest;
struct holder g_holder;
struct qualifiers *g_qualifiers;
struct zero_width_last g_zero;
anonymous_t g_anonymous;
anonymous_enum_t g_anonymous_enum;
array_of_typedef_t g_array_of_typedef;
struct declared_struct *g_declared_struct;
union declared_union *g_declared_union;
u64 g_u64;

int static_in_function(int argument, struct list *list) {
    struct only_in_function {
        int a;
        struct list *b;
    } local = {argument, list};
    {
        enum only_in_block { BLOCK_A = 17 } block = BLOCK_A;
        typedef struct only_in_function local_t;
        local_t *pointer = &local;
        return pointer->a + (int)block;
    }
}

int variadic(const char *format, ...) { return format != 0; }
