/* Legal C that the kernel's BTF cannot say as it is. */
struct größe {
    int länge;
} g_größe;
typedef struct größe with$dollar;
with$dollar *g_dollar;
struct too_large {
    char (*flat)[70000][70000];
    long (*wide)[0x20000000];
} g_too_large;
_Atomic int g_atomic;
struct complex {
    _Complex double value;
    _Atomic(int *) pointer;
} g_complex;
struct far {
    char before[3000000];
    unsigned a : 3;
} *g_far;
