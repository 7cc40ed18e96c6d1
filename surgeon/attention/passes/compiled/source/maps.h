// A map in memory: images of rows of columns. A row is a channel, or a position where channels come last.
#pragma once
#include "lanes.h"

struct Shape {
  Count images, rows, columns;
};

// Where the numbers of a map are, and how far from one image or row to the next.
template <class T>
struct Map {
  T* start;
  Count image, row;
  T* at(Count n, Count a) const { return start + n * image + a * row; }
};

// How many rows are read side by side.
constexpr int BESIDE = 4;
template <int COUNT>
struct Beside {
  static constexpr int value = COUNT;
};

// `visit(row, beside)` for each run of so many rows from `begin` to `end`, and of one where fewer are left.
template <class Visit>
inline void beside(Count begin, Count end, Visit visit) {
  for (; begin + BESIDE <= end; begin += BESIDE) visit(begin, Beside<BESIDE>());
  for (; begin < end; begin++) visit(begin, Beside<1>());
}

// Rows that are read side by side, from one of them and one column on.
template <class T, int COUNT>
struct Rows {
  T* row[COUNT];
  Rows(const Map<T>& map, Count n, Count a, Count left = 0) {
    for (int k = 0; k < COUNT; k++) row[k] = map.at(n, a + k) + left;
  }
  T* operator[](int k) const { return row[k]; }
};

inline Count least(Count a, Count b) { return a < b ? a : b; }
inline Count most(Count a, Count b) { return a > b ? a : b; }
inline Count parts_of(Count whole, Count part) { return (whole + part - 1) / part; }

// Columns are looked at tile by tile, each of so many that what is summed of them stays in the nearest cache; and of
// fewer, where a map is that small, for all threads to have one. A column's sum is the same whatever its tile.
constexpr Count TILE = 2048, LEAST_TILE = 64;
inline Count tiles_of(Shape shape, int threads) {
  const Count fit = parts_of(shape.columns, TILE), wanted = parts_of(2 * threads, shape.images);
  return most(fit, most(1, least(wanted, shape.columns / LEAST_TILE)));
}

// Rows are added up chunk by chunk: as many as the shape says, whatever the threads, so that sums don't depend on those.
constexpr Count CHUNKS = 32, LEAST_CHUNK = 32;
inline Count chunks_of(Shape shape) {
  return most(1, least(parts_of(CHUNKS, shape.images), shape.rows / LEAST_CHUNK));
}

inline Count start_of(Count part, Count parts, Count whole) { return part * whole / parts; }

// The chunks of each image added up, in `parts` (images, chunks, columns) itself: in place of the first.
template <class S>
void join(Shape shape, S* parts) {
  const Count chunks = chunks_of(shape);
  for (Count n = 0; n < shape.images; n++)
    for (Count chunk = 1; chunk < chunks; chunk++) {
      S *sum = parts + n * chunks * shape.columns, *part = sum + chunk * shape.columns;
      for (Count b = 0; b < shape.columns; b++) sum[b] += part[b];
    }
}

// What a gradient gets by the channels of a map, or by its positions: the factors of the product (images, each); the
// gradients of mean and maximum over the other axis, from one image to the next `image` numbers; and where the maximum
// was first (images, each).
template <class S>
struct By {
  const S *factor, *mean, *peak;
  const int32_t* place;
  Count image;
};
