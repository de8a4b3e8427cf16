import { expect, it, vi } from 'vitest';

vi.mock('uplot', () => ({ default: vi.fn() }));
vi.mock('uplot/dist/uPlot.min.css', () => ({}));

import { alone, summary } from './Chart';

it.each([
  [[1, null, 2, 3, null, 4], [0, 5]],
  [[null, 7, null], [1]],
  [[1, 2, 3], []],
  [[undefined, null], []],
])('a value beside which there is none is a point: %j', (values, points) => expect(alone(values)).toEqual(points));

it('a line is told in words', () => {
  const line = (values: (number | null)[]) => summary({ name: 'p95', values, colour: '' }, ' ms');
  expect(line([null, 30, 12, null])).toBe('at most 30 ms, last 12 ms');
  expect(line([null])).toBe('none');
});
