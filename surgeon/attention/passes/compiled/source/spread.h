// What is written over a map: the product, and the gradient of the map.
#pragma once
#include "maps.h"

// `x` times the factors of rows (images, rows) and of columns (images, columns), first those of `rows_first`.
template <class T, bool OF_ROWS, bool OF_COLUMNS>
void product(Shape shape, Map<const T> x, const Number<T>* of_rows, const Number<T>* of_columns, bool rows_first, Map<T> y,
             int threads) {
  typedef Number<T> S;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
  for (Count n = 0; n < shape.images; n++)
    for (Count a = 0; a < shape.rows; a++) {
      const T* from = x.at(n, a);
      T* to = y.at(n, a);
      const S row = OF_ROWS ? of_rows[n * shape.rows + a] : S(1);
      const S* columns = OF_COLUMNS ? of_columns + n * shape.columns : nullptr;
      along<S>(shape.columns, [&](Count b, auto) {
        Lanes<S> value = load(from + b);
        if (OF_ROWS && OF_COLUMNS)
          value = rows_first ? value * row * load(columns + b) : value * load(columns + b) * row;
        else if (OF_ROWS)
          value *= row;
        else if (OF_COLUMNS)
          value *= load(columns + b);
        store(to + b, value);
      });
    }
}

template <class T>
inline void add(T* at, Number<T> more) {
  write(at, number(*at) + more);
}

// The gradient of a map whose rows are channels, by the formula of `formulas.spread` and with what its maxima get.
template <class T, bool BY_POSITION, bool PEAKS>
void spread_channels(Shape shape, Map<const T> g, By<Number<T>> channels, By<Number<T>> positions, bool inside,
                     Map<T> y, int threads) {
  typedef Number<T> S;
  const Count groups = parts_of(shape.rows, BESIDE);
  const S channel_part = S(1) / shape.rows, position_part = S(1) / shape.columns;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
  for (Count n = 0; n < shape.images; n++)
    for (Count group = 0; group < groups; group++)
      beside(group * BESIDE, least(shape.rows, (group + 1) * BESIDE), [&](Count a, auto beside) {
        constexpr int COUNT = decltype(beside)::value;
        const Rows<const T, COUNT> from(g, n, a);
        const Rows<T, COUNT> to(y, n, a);
        const Count here = n * shape.rows + a, pair = n * channels.image + a;
        S s[COUNT], average[COUNT];
        for (int k = 0; k < COUNT; k++)
          s[k] = channels.factor[here + k], average[k] = channels.mean[pair + k] * position_part;
        const Count row = n * shape.columns, pairs = n * positions.image;
        along<S>(shape.columns, [&](Count b, auto) {
          Lanes<S> t = {}, mean = {}, peak = {};
          Places<S> first = {};
          if (BY_POSITION) {
            t = load(positions.factor + row + b), mean = load(positions.mean + pairs + b) * channel_part;
            peak = mean + load(positions.peak + pairs + b), first = places(positions.place + row + b, S());
          }
          for (int k = 0; k < COUNT; k++) {
            Lanes<S> value = load(from[k] + b), more = {};
            if (BY_POSITION) value *= t, more = first == (Place<T>)(a + k) ? peak : mean;
            store(to[k] + b, inside ? (value + more) * s[k] + average[k] : value * s[k] + average[k] + more);
          }
        });
        for (int k = 0; PEAKS && k < COUNT; k++) add(to[k] + channels.place[here + k], channels.peak[pair + k]);
      });
}

// The same of a map whose rows are positions.
template <class T, bool BY_POSITION, bool PEAKS>
void spread_positions(Shape shape, Map<const T> g, By<Number<T>> channels, By<Number<T>> positions, bool inside,
                      Map<T> y, int threads) {
  typedef Number<T> S;
  const S channel_part = S(1) / shape.columns, position_part = S(1) / shape.rows;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
  for (Count n = 0; n < shape.images; n++)
    for (Count a = 0; a < shape.rows; a++) {
      const T* from = g.at(n, a);
      T* to = y.at(n, a);
      const Count here = n * shape.rows + a, pair = n * positions.image + a;
      const S t = BY_POSITION ? positions.factor[here] : S(1);
      const S more = BY_POSITION ? positions.mean[pair] * channel_part : S(0);
      const Count row = n * shape.columns, pairs = n * channels.image;
      along<S>(shape.columns, [&](Count b, auto) {
        Lanes<S> s = load(channels.factor + row + b), value = load(from + b) * t;
        value = inside ? (value + more) * s : value * s + more;
        value += load(channels.mean + pairs + b) * position_part;
        if (PEAKS) {
          Places<S> first = places(channels.place + row + b, S());
          value += first == (Place<T>)a ? load(channels.peak + pairs + b) : Lanes<S>{};
        }
        store(to + b, value);
      });
      if (BY_POSITION) {
        const Count channel = positions.place[here];
        add(to + channel, positions.peak[pair] * (inside ? channels.factor[row + channel] : S(1)));
      }
    }
}
