// A map times a factor made of a score of its row and one of its column.
#pragma once
#include "maps.h"

// How a score of a row and one of a column make one.
enum Combine { SUM, PRODUCT, MAX };

template <class S>
struct Exponential;
// terms: of the series of e^x, enough for |x| up to half of ln 2. most: up to where e^-x is a normal number. least: where
// e^-x is infinite, and the sigmoid 0, as torch has it. upper, lower: the two parts of ln 2. magic: added and taken away
// again, it leaves a whole number.
template <>
struct Exponential<float> {
  static constexpr int terms = 7, mantissa = 23, bias = 127;
  static constexpr float most = 87, least = -88.8f, upper = 0.693359375f, lower = -2.12194440e-4f,
                         magic = 12582912;
};
template <>
struct Exponential<double> {
  static constexpr int terms = 13, mantissa = 52, bias = 1023;
  static constexpr double most = 708, least = -709.9, upper = 6.93145751953125e-1,
                          lower = 1.42860682030941723212e-6, magic = 6755399441055744.0;
};

// 1 / (1 + e^-x); exactly a half at 0, and NaN where x is.
template <class S>
inline Lanes<S> sigmoid(Lanes<S> x) {
  typedef Exponential<S> E;
  x = x > E::most ? Lanes<S>{} + E::most : x;
  x = x < E::least ? Lanes<S>{} + E::least : x;
  const Lanes<S> whole = (-x * S(1.44269504088896340736) + E::magic) - E::magic;
  const Lanes<S> rest = (-x - whole * E::upper) - whole * E::lower;
  Lanes<S> power = Lanes<S>{} + 1;
#pragma GCC unroll 16
  for (int term = E::terms; term > 0; term--) power = power * (rest * (S(1) / term)) + 1;
  // Half of it first, which is a number where all of it may be infinite.
  const Places<S> exponent = (__builtin_convertvector(whole, Places<S>) + (E::bias - 1)) << E::mantissa;
  return 1 / (1 + power * as<Lanes<S>>(exponent) * 2);
}

template <Combine HOW, class S>
inline Lanes<S> combined(S row, Lanes<S> column) {
  if (HOW == SUM) return row + column;
  if (HOW == PRODUCT) return row * column;
  // NaN where either is.
  const Lanes<S> mine = Lanes<S>{} + row;
  return ((mine > column) | (mine != mine)) != 0 ? mine : column;
}

// What a row's score has of the derivative; the rest is the column's. Equals share.
template <class S>
inline Lanes<S> share(S row, Lanes<S> column) {
  const Lanes<S> all = Lanes<S>{} + 1;
  return row > column ? all : row == column ? all / 2 : Lanes<S>{};
}

// `x * (offset + factor * sigmoid(row combined with column))` of scores (images, rows) and (images, columns).
template <class T, Combine HOW>
void blend(Shape shape, Map<const T> x, const Number<T>* rows, const Number<T>* columns, const Number<T>* offset,
           const Number<T>* factor, Map<T> y, int threads) {
  typedef Number<T> S;
  const S base = *offset, times = *factor;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
  for (Count n = 0; n < shape.images; n++)
    for (Count a = 0; a < shape.rows; a++) {
      const T* from = x.at(n, a);
      T* to = y.at(n, a);
      const S row = rows[n * shape.rows + a];
      const S* column = columns + n * shape.columns;
      along<S>(shape.columns, [&](Count b, auto) {
        store(to + b, load(from + b) * (base + times * sigmoid<S>(combined<HOW, S>(row, load(column + b)))));
      });
    }
}

// What rows, columns, offset and factor get from the gradient `g` of a blend; columns in a part for each chunk of rows:
// (images, chunks, columns), offset and factor as well: (images, chunks, 2).
template <class T, Combine HOW>
void blend_sums(Shape shape, Map<const T> g, Map<const T> x, const Number<T>* rows, const Number<T>* columns,
                const Number<T>* factor, Number<T>* of_rows, Number<T>* of_columns, Number<T>* acts, int threads) {
  typedef Number<T> S;
  const Count chunks = chunks_of(shape);
  const S times = *factor;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
  for (Count n = 0; n < shape.images; n++)
    for (Count chunk = 0; chunk < chunks; chunk++) {
      const Count begin = start_of(chunk, chunks, shape.rows), end = start_of(chunk + 1, chunks, shape.rows);
      const S* column = columns + n * shape.columns;
      S* sum = of_columns + (n * chunks + chunk) * shape.columns;
      memset(sum, 0, shape.columns * sizeof(S));
      Lanes<S> of_offset = {}, of_factor = {};
      for (Count a = begin; a < end; a++) {
        const T *from = g.at(n, a), *other = x.at(n, a);
        const S row = rows[n * shape.rows + a];
        Lanes<S> own = {};
        along<S>(shape.columns, [&](Count b, auto fresh) {
          const Lanes<S> both = fresh.of(load(from + b) * load(other + b)), score = load(column + b);
          const Lanes<S> scale = sigmoid<S>(combined<HOW, S>(row, score));
          const Lanes<S> of_score = both * (times * scale * (1 - scale));
          of_offset += both, of_factor += both * scale;
          if (HOW == SUM) {
            own += of_score, store(sum + b, load(sum + b) + of_score);
          } else if (HOW == PRODUCT) {
            own += of_score * score, store(sum + b, load(sum + b) + of_score * row);
          } else {
            const Lanes<S> mine = of_score * share<S>(row, score);
            own += mine, store(sum + b, load(sum + b) + (of_score - mine));
          }
        });
        of_rows[n * shape.rows + a] = total<S>(own);
      }
      acts[(n * chunks + chunk) * 2] = total<S>(of_offset);
      acts[(n * chunks + chunk) * 2 + 1] = total<S>(of_factor);
    }
  join(shape, of_columns);
}
