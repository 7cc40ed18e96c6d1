from .views import html as html
from .views import svg as svg
