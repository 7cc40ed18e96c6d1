// Numbers side by side: as many as a processor computes with at once, in the precision that sums are in.
#pragma once
#include <cstdint>
#include <cstring>

// As many bytes as a register has.
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX2__)
#define BYTES 32
#else
#define BYTES 16
#endif

typedef long long Count;

// As bfloat16 lies in memory: the upper half of a float.
struct Brain {
  uint16_t bits;
};

template <class T>
struct Kind {
  typedef float Number;
  typedef int32_t Place;
};
template <>
struct Kind<double> {
  typedef double Number;
  typedef int64_t Place;
};
// What is computed with for numbers of kind T in memory, and what counts places beside it.
template <class T>
using Number = typename Kind<T>::Number;
template <class T>
using Place = typename Kind<T>::Place;

template <class S>
struct Side {
  static constexpr int WIDTH = BYTES / sizeof(S);
  typedef S Lanes __attribute__((vector_size(BYTES)));
  typedef typename Kind<S>::Place Places __attribute__((vector_size(BYTES)));
};
template <class S>
using Lanes = typename Side<S>::Lanes;
template <class S>
using Places = typename Side<S>::Places;

template <class S>
constexpr int WIDTH = Side<S>::WIDTH;

typedef uint16_t Halves __attribute__((vector_size(BYTES / 2)));
typedef uint32_t Words __attribute__((vector_size(BYTES)));
typedef int32_t Shorts __attribute__((vector_size(BYTES / 2)));

template <class To, class From>
inline To as(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "another size");
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

inline Lanes<float> load(const float* at) {
  Lanes<float> x;
  memcpy(&x, at, sizeof(x));
  return x;
}
inline Lanes<double> load(const double* at) {
  Lanes<double> x;
  memcpy(&x, at, sizeof(x));
  return x;
}
inline Lanes<float> load(const Brain* at) {
  Halves bits;
  memcpy(&bits, at, sizeof(bits));
  return as<Lanes<float>>(__builtin_convertvector(bits, Words) << 16);
}

inline void store(float* at, Lanes<float> x) { memcpy(at, &x, sizeof(x)); }
inline void store(double* at, Lanes<double> x) { memcpy(at, &x, sizeof(x)); }
inline void store(Brain* at, Lanes<float> x) {
  Words bits = as<Words>(x);
  // To the nearest, and of two as near to the even one; a NaN stays one.
  Words rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  Halves halves = __builtin_convertvector(x != x ? Words{} + 0x7fc0 : rounded, Halves);
  memcpy(at, &halves, sizeof(halves));
}

// Older compilers have none, or call it otherwise.
#if defined(__FLT16_MANT_DIG__)
typedef _Float16 Half;
#elif defined(__clang__)
typedef __fp16 Half;
#endif
#if defined(__FLT16_MANT_DIG__) || defined(__clang__)
typedef Half Sixteen __attribute__((vector_size(BYTES / 2)));
inline Lanes<float> load(const Half* at) {
  Sixteen x;
  memcpy(&x, at, sizeof(x));
  return __builtin_convertvector(x, Lanes<float>);
}
inline void store(Half* at, Lanes<float> x) {
  Sixteen halves = __builtin_convertvector(x, Sixteen);
  memcpy(at, &halves, sizeof(halves));
}
#endif

// One number of memory as what is computed with, and back.
template <class T>
inline Number<T> number(const T& x) {
  return x;
}
inline float number(const Brain& x) { return as<float>((uint32_t)x.bits << 16); }
template <class T>
inline void write(T* at, Number<T> x) {
  T all[WIDTH<Number<T>>];
  store(all, Lanes<Number<T>>{} + x);
  *at = all[0];
}

// Places are written as 32 bits, whatever they are counted with.
inline Places<float> places(const int32_t* at, float) {
  Places<float> x;
  memcpy(&x, at, sizeof(x));
  return x;
}
inline Places<double> places(const int32_t* at, double) {
  Shorts x;
  memcpy(&x, at, sizeof(x));
  return __builtin_convertvector(x, Places<double>);
}
inline void store(int32_t* at, Places<float> x) { memcpy(at, &x, sizeof(x)); }
inline void store(int32_t* at, Places<double> x) {
  Shorts halves = __builtin_convertvector(x, Shorts);
  memcpy(at, &halves, sizeof(halves));
}

// The place of each number in its lanes.
template <class S>
inline Places<S> steps() {
  Places<S> x;
  for (int lane = 0; lane < WIDTH<S>; lane++) x[lane] = lane;
  return x;
}

// The lanes of `a` and then those of `b`, as many of them as one of the two has.
template <class S, class All>
inline All picked(All a, All b, Places<S> which) {
#ifdef __clang__
  All all;
  for (int lane = 0; lane < WIDTH<S>; lane++)
    all[lane] = which[lane] < WIDTH<S> ? a[which[lane]] : b[which[lane] - WIDTH<S>];
  return all;
#else
  return __builtin_shuffle(a, b, which);
#endif
}

// All lanes of each of `WIDTH` of `x` made one by `two(i, j, one, other)`, which puts the two ways of picking lanes of
// `x[i]` and `x[j]` together in `x[i]`; in the end lane k of `x[0]` is what became of `x[k]`.
template <class S, int APART = WIDTH<S> / 2, class Two>
inline void fold(Two two) {
  const Places<S> lane = steps<S>();
  const Places<S> others = (lane & APART) != 0 ? Places<S>{} + WIDTH<S> : Places<S>{};
#pragma GCC unroll 16
  for (int k = 0; k < APART; k++) two(k, k + APART, lane + others, (lane ^ APART) + others);
  if constexpr (APART > 1) fold<S, APART / 2>(two);
}
template <class S>
inline Lanes<S> totals(Lanes<S>* x) {
  fold<S>([&](int i, int j, Places<S> one, Places<S> other) {
    x[i] = picked<S>(x[i], x[j], one) + picked<S>(x[i], x[j], other);
  });
  return x[0];
}

template <class S>
inline S total(Lanes<S> x) {
  S sum = 0;
  for (int lane = 0; lane < WIDTH<S>; lane++) sum += x[lane];
  return sum;
}

// Which lanes were not seen before.
struct All {
  template <class V>
  V of(V x) const {
    return x;
  }
};
template <class S>
struct Some {
  Places<S> fresh;
  Lanes<S> of(Lanes<S> x) const { return fresh ? x : Lanes<S>{}; }
};

// `visit(start, fresh)` for each run of lanes in `count` numbers, which are no fewer than lanes: the last run ends with
// the last number, and `fresh` has those of its lanes that no run before had.
template <class S, class Visit>
inline void along(Count count, Visit visit) {
  Count start = 0;
  for (; start + WIDTH<S> <= count; start += WIDTH<S>) visit(start, All());
  if (start == count) return;
  const Count last = count - WIDTH<S>;
  visit(last, Some<S>{steps<S>() >= (typename Kind<S>::Place)(start - last)});
}
