/* lvsa_version.h: which lvsa this is, at compile time and at run time. */
#ifndef LVSA_VERSION_H
#define LVSA_VERSION_H

/* Semantic versioning. The soname is the major number: a program built against one major runs with
 * every later library of that major. Until 1.0 a minor number may change the interface. */
#define LVSA_VERSION_MAJOR 0
#define LVSA_VERSION_MINOR 1
#define LVSA_VERSION_PATCH 0
#define LVSA_VERSION_STRING "0.1.0"

#if defined(_WIN32)
#define LVSA_API
#elif defined(__GNUC__)
#define LVSA_API __attribute__((visibility("default")))
#else
#define LVSA_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library that was loaded, "major.minor.patch". Never NULL; static. */
LVSA_API const char *lvsa_version(void);

/* What was built in and what this machine offers, one "name: value" a line, e.g.
 * "cpu: avx512", "openmp: 4.5", "cuda: off". Never NULL; static; safe from any thread. */
LVSA_API const char *lvsa_build_info(void);

#ifdef __cplusplus
}
#endif
#endif
