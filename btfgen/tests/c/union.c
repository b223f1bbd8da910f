/* The long double, pointers and floats of a union, apart from types.c because not every compiler here has them. */
union numbers {
    unsigned char bytes[16];
    long double extended;
    double real;
    float short_real;
    volatile const int *volatile qualified;
} g_numbers;
