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

// What the gradient of a map gets by its positions (images, positions): the factor of the product, the gradients of mean
// and maximum over the channels, and the channel where that was first.
template <class S>
struct Positions {
  const S *factor, *mean, *peak;
  const int32_t* channel;
};

// And by its channels (images, channels): the same, of mean and maximum over the positions.
template <class S>
struct Channels {
  const S *factor, *mean, *peak;
  const int32_t* position;
};

template <class T>
inline void add(T* at, Number<T> more) {
  write(at, number(*at) + more);
}

// The gradient of a map whose rows are channels, by the formula of `formulas.spread` and with what its maxima get.
template <class T, bool BY_POSITION, bool PEAKS>
void spread_channels(Shape shape, Map<const T> g, Channels<Number<T>> by_channel, Positions<Number<T>> by_position,
                     bool inside, Map<T> y, int threads) {
  typedef Number<T> S;
  const Count groups = parts_of(shape.rows, BESIDE);
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
  for (Count n = 0; n < shape.images; n++)
    for (Count group = 0; group < groups; group++)
      beside(group * BESIDE, least(shape.rows, (group + 1) * BESIDE), [&](Count a, auto beside) {
        constexpr int COUNT = decltype(beside)::value;
        const Count here = n * shape.rows + a, row = n * shape.columns;
        const Rows<const T, COUNT> from(g, n, a);
        const Rows<T, COUNT> to(y, n, a);
        S s[COUNT], average[COUNT];
        for (int k = 0; k < COUNT; k++) s[k] = by_channel.factor[here + k], average[k] = by_channel.mean[here + k];
        along<S>(shape.columns, [&](Count b, auto) {
          Lanes<S> t = {}, mean = {}, peak = {};
          Places<S> channel = {};
          if (BY_POSITION) {
            t = load(by_position.factor + row + b), mean = load(by_position.mean + row + b);
            peak = mean + load(by_position.peak + row + b);
            channel = places(by_position.channel + row + b, S());
          }
          for (int k = 0; k < COUNT; k++) {
            Lanes<S> value = load(from[k] + b), more = {};
            if (BY_POSITION) value *= t, more = channel == (Place<T>)(a + k) ? peak : mean;
            store(to[k] + b, inside ? (value + more) * s[k] + average[k] : value * s[k] + average[k] + more);
          }
        });
        for (int k = 0; PEAKS && k < COUNT; k++)
          add(to[k] + by_channel.position[here + k], by_channel.peak[here + k]);
      });
}

// The same of a map whose rows are positions.
template <class T, bool BY_POSITION, bool PEAKS>
void spread_positions(Shape shape, Map<const T> g, Channels<Number<T>> by_channel, Positions<Number<T>> by_position,
                      bool inside, Map<T> y, int threads) {
  typedef Number<T> S;
#pragma omp parallel for collapse(2) num_threads(threads) schedule(static)
  for (Count n = 0; n < shape.images; n++)
    for (Count a = 0; a < shape.rows; a++) {
      const T* from = g.at(n, a);
      T* to = y.at(n, a);
      const Count here = n * shape.rows + a, row = n * shape.columns;
      const S t = BY_POSITION ? by_position.factor[here] : S(1), more = BY_POSITION ? by_position.mean[here] : S(0);
      along<S>(shape.columns, [&](Count b, auto) {
        Lanes<S> s = load(by_channel.factor + row + b), value = load(from + b) * t;
        value = inside ? (value + more) * s : value * s + more;
        value += load(by_channel.mean + row + b);
        if (PEAKS) {
          Places<S> position = places(by_channel.position + row + b, S());
          value += position == (Place<T>)a ? load(by_channel.peak + row + b) : Lanes<S>{};
        }
        store(to + b, value);
      });
      if (BY_POSITION) {
        const Count channel = by_position.channel[here];
        add(to + channel, by_position.peak[here] * (inside ? by_channel.factor[row + channel] : S(1)));
      }
    }
}
